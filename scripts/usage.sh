# Sourced by the scripts in bash, before they look at their words: --help prints the script's first comment and ends it.
if [[ ${1-} == --help || ${1-} == -h ]]; then
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit 0
fi
