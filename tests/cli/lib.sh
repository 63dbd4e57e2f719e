# shellcheck shell=bash disable=SC2034
# What the command-line tests share; each test file sources it first.
#   OTPLAN  the program under test      PROBE  tests/cli/probe.c, built
# Works in a temporary folder that is gone afterwards.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/otplan-cli-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# The smallest networks that are still of every part.
images=(--preset quickstart --width 8 --multipliers 1,1 --potential-width 8 --potential-multipliers 1,2
	--batch 4 --threads 2 --steps 6)
points=(--preset vector --width 8 --blocks 1 --potential-width 8 --potential-blocks 1
	--batch 8 --threads 2 --steps 6)
digits=(--source synth:digits --target synth:digits-isoluminant)
lines=(--source synth:one-to-many-source --target synth:one-to-many-target)

title() { echo "-- $*"; }

fail() {
	echo "FAILED at line ${BASH_LINENO[${depth:-1}]}: $*"
	[[ -s out ]] && sed 's/^/  stdout: /' out
	[[ -s err ]] && sed 's/^/  stderr: /' err
	exit 1
}

# Whatever happened, no file is left under a temporary name.
tidy() {
	local left
	left=$(find . -name '*.tmp-*')
	[[ -z $left ]] || depth=2 fail "left behind: $left"
}

one_of_many='(^|[^0-9.:,x/_-])1 (pictures|images|samples|vectors|values|files|columns|rows|inputs|outputs|steps|runs|threads|parts|workers|processes|channels|parameters|weights|seconds|minutes|bytes|checkpoints|rollbacks)([^/[:alnum:]]|$)'

# exits CODE ARGUMENTS...: the program, its output in ./out and ./err.
exits() {
	local expected=$1 code=0
	shift
	"$OTPLAN" "$@" >out 2>err </dev/null || code=$?
	[[ $code == "$expected" ]] || depth=${from:-1} fail "otplan $*: exit code $code, expected $expected"
	! grep -hE "$one_of_many" out err || depth=${from:-1} fail "otplan $*: one, with the word for many"
	tidy
}

# does ARGUMENTS...: success, with results and no complaint.
does() {
	from=2 exits 0 "$@"
	! grep -q '^otplan: ' err || fail "otplan $*: complains"
}

# refuses CODE WORD ARGUMENTS...: nothing on stdout, and on stderr one line that holds WORD.
refuses() {
	local code=$1 word=$2
	shift 2
	from=2 exits "$code" "$@"
	[[ ! -s out ]] || fail "otplan $*: prints results"
	[[ $(wc -l <err) == 1 ]] || fail "otplan $*: expected one line"
	from=2 complains "$word"
}

# complains WORD: the last run's last line is an error in our form that holds WORD.
complains() {
	local last
	last=$(tail -n 1 err)
	[[ $last == "otplan: "*": "* ]] || depth=${from:-1} fail "no error line"
	[[ $last == *"$1"* ]] || depth=${from:-1} fail "the error does not say '$1'"
}

says() { grep -q -e "$1" out || fail "stdout does not say '$1'"; }
warns() { grep -q -e "$1" err || fail "stderr does not say '$1'"; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }
differ() { ! cmp -s "$1" "$2" || fail "$1 and $2 are equal"; }
exists() { for path in "$@"; do [[ -s $path ]] || fail "$path is missing or empty"; done; }
missing() { for path in "$@"; do [[ ! -e $path ]] || fail "$path is there"; done; }
# files FOLDER NAME...: exactly these lie below the folder, beside a manifest of outputs.
files() {
	local folder=$1
	shift
	diff <(find "$folder" -type f ! -name .otplan-outputs.jsonl -printf '%P\n' | sort) <(printf '%s\n' "$@" | sort) || fail "$folder holds other files"
}
# json FILE KEY...: every line is an object with these keys.
json() { "$PROBE" json "$@" || fail "$1 is not as expected"; }
# size W H C FILE...: pictures of that shape.
size() { "$PROBE" size "$@" || fail "a picture has another shape"; }
# A copy of a file with one bit turned over, or cut to so many bytes.
flipped() { "$PROBE" flip "$1" "$2" "$3"; }
# A copy of a checkpoint or model with one bit of its largest set turned over.
spoiled() { "$PROBE" spoil "$1" "$2"; }
cut_to() { head -c "$3" "$1" >"$2"; }
bytes() { stat -c %s "$1"; }
