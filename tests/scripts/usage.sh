#!/usr/bin/env bash
# Every script in bash prints its first comment when it is asked for --help, and does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts"

count=0
for script in *; do
	[[ -x $script && $(head -n 1 "$script") == *bash ]] || continue
	# One that lacks the line would start its work.
	grep -q '^source .*/usage.sh"$' "$script" || { echo "scripts/$script does not source usage.sh" && exit 1; }
	said=$("./$script" --help)
	[[ ${said%%$'\n'*} == "$(sed -n '2s/^# //p' "$script")" && $said != *"set -euo"* ]] ||
		{ echo "scripts/$script --help: $said" && exit 1; }
	count=$((count + 1))
done
((count > 10)) && echo "$count scripts explain themselves"
