#!/usr/bin/env bash
# Plans that cuDNN compiles: the first start compiles them and keeps what it chose, no later one compiles. What is kept and
# damaged, or another's, is told, made again, and changes no result.
#   KEPT  tests/fake_device/kept.c, built
. "$(dirname "$0")/lib.sh"

attends() { "$KEPT" "$1" 2>err || fail "exit code $?"; }
told() { [[ $(grep -c 'kept plan' err) == "$1" ]] || fail "expected $1 lines about kept plans"; }

title "the first start keeps three plans: forward, forward before the adjoint, the adjoint"
attends first
plans=$(find choices -mindepth 1 -type d)
mapfile -t files < <(find "$plans" -type f | sort)
[[ ${#files[@]} == 3 ]] || fail "expected three plans"
cp -r "$plans" kept

title "no later start compiles, and none writes"
OTPLAN_FAKE_FAIL=compile:1+ attends second
told 0
same first second
diff -r kept "$plans"

title "a plan that is cut, changed, of another version, of another graph, or empty is made again"
damage() {
	told_before=$1
	shift
	"$@"
	attends again
	told "$told_before"
	same first again
	diff -r kept "$plans" || fail "not made again: $*"
}
damage 1 truncate -s -1 "${files[0]}"
damage 1 sed -i 's/0$/1/;s/\([^01]\)$/0/' "${files[1]}"
damage 1 sed -i '1s/cuDNN [0-9]*/cuDNN 1/' "${files[2]}"
damage 1 cp "${files[0]}" "${files[1]}"
damage 1 truncate -s 0 "${files[2]}"
damage 0 rm "${files[1]}"

title "a text that cuDNN refuses is told, and made again"
OTPLAN_FAKE_FAIL=text:2 attends again
told 1
same first again

title "where nothing can be kept, every start compiles"
: >none
OTPLAN_CUDA_CACHE=none/choices attends again
grep -q 'choices between plans are not kept' err || fail "nothing said"
same first again

title "where nothing can be compiled attention is composed, and nothing is kept"
OTPLAN_CUDA_CACHE=refused OTPLAN_FAKE_FAIL=compile:1+ attends composed
OTPLAN_CUDA_CACHE=off OTPLAN_CUDA_COMPILED=0 attends again
same composed again
differ composed first
[[ -z $(find refused off -name '*.plan') ]] || fail "plans are kept"

title "an older cuDNN that knows no attention: likewise"
OTPLAN_CUDA_CACHE=old OTPLAN_FAKE_OLD=1 attends again
same composed again
[[ ! -s err ]] || fail "something is said"

title "memory for cuDNN's descriptors that is out ends the program with a line"
OTPLAN_CUDA_CACHE=no-memory OTPLAN_FAKE_FAIL=cudnnBackendCreateDescriptor:3+ "$KEPT" again 2>err && fail "it went on"
grep -q cudnnBackendCreateDescriptor err || fail "no line"

title "threads that cannot be had: one after another"
OTPLAN_CUDA_CACHE=alone OTPLAN_FAKE_FAIL=cudnnCreate:2+ attends again
same first again
[[ $(find alone -name '*.plan' | wc -l) == 3 ]] || fail "expected three plans"
