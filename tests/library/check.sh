#!/usr/bin/env bash
# The library as its user meets it: installed into a temporary prefix, found by
# pkg-config and by find_package, linked shared and static into a program in C and
# in C++ that has an stb_image of its own.
#   BUILD  otplan's build folder   STB  the folder of stb_image.h   CMAKE, CC, CXX  as in that build
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/otplan-library-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

title() { echo "-- $*"; }
fail() {
	echo "FAILED at line ${BASH_LINENO[0]}: $*"
	exit 1
}

title "installing"
"$CMAKE" --install "$BUILD" --prefix "$work/shared" >/dev/null
libdir=$(dirname "$(dirname "$(find "$work/shared" -name otplan.pc)")")
program=$work/shared/bin/otplan
# A tree at another place, with the static library alone: the files must not name the first one.
cp -r shared static
static_libdir=$work/static${libdir#"$work/shared"}
rm "$static_libdir"/libotplan.so*

title "nothing is exported but what the header declares"
grep -o '^OTPLAN_API [^(]*(' "$work/shared/include/otplan/otplan.h" | grep -o 'otplan_[a-z_]*(' | tr -d '(' | sort >declared
[[ $(wc -l <declared) -ge 9 ]] || fail "the header declares $(wc -l <declared) functions"
nm -D --defined-only "$libdir/libotplan.so" | awk '{print $3}' | sort >exported
diff declared exported || fail "libotplan.so exports something else"
nm -g --defined-only "$libdir/libotplan.a" | awk 'NF == 3 {print $3}' | sort >exported
diff declared exported || fail "libotplan.a exports something else"
nm "$libdir/libotplan.a" | awk '{print $NF}' >names
grep -qx otp_translator_run names || fail "no names of the library's inside"
! grep -qE '^otp_(game|trainer|verify|session|report)_' names || fail "training is in the library"

title "a model, and what the program makes of it"
"$BUILD/otplan" train --preset vector --width 8 --blocks 1 --potential-width 8 --potential-blocks 1 --batch 8 \
	--threads 2 --steps 3 --source synth:one-to-many-source --target synth:one-to-many-target --out run >log 2>&1 ||
	fail "no model: $(cat log)"
"$BUILD/otplan" translate run 'synth:one-to-many-source?limit=40' in.npy >/dev/null 2>&1
"$program" translate run in.npy expected.npy --samples 3 --seed 5 --device cpu >/dev/null 2>&1
[[ $(head -n 1 expected.npy | wc -c) == 128 ]] || fail "the .npy header has another length than 128"

# same CONSUMER: it makes the same bits, in silence.
same() {
	"$@" run in.npy out 3 5 >said 2>&1 || fail "$*: $(cat said)"
	[[ ! -s said ]] || fail "$*: says $(cat said)"
	tail -c +129 expected.npy | cmp - out || fail "$*: other bits than the program's"
	rm out
}

title "by pkg-config"
warnings=(-Wall -Wextra -Werror)
$CC -w -I"$STB" -c "$here/own_stb.c" -o own_stb.o
# by_pkg_config KIND COMPILER...
by_pkg_config() {
	local kind=$1 options=(--cflags --libs) path=$libdir
	shift
	[[ $kind == shared ]] || options+=(--static) path=$static_libdir
	# shellcheck disable=SC2046 # flags are words
	"$@" "${warnings[@]}" -I"$STB" "$here/consumer.c" -x none own_stb.o -lm -o consumer \
		$(PKG_CONFIG_PATH=$path/pkgconfig pkg-config "${options[@]}" otplan)
	if [[ $kind == shared ]]; then
		same env LD_LIBRARY_PATH="$libdir" ./consumer
	else
		! ldd consumer | grep -q libotplan || fail "the static consumer needs libotplan.so"
		same ./consumer
	fi
	mv consumer "$kind"-consumer
}
by_pkg_config shared "$CC" -std=c11
by_pkg_config static "$CC" -std=c11
by_pkg_config shared "$CXX" -std=c++11 -x c++
by_pkg_config static "$CXX" -std=c++11 -x c++

title "by find_package"
"$CMAKE" -S "$here" -B cmake -G Ninja -DCMAKE_PREFIX_PATH="$work/shared" -DSTB_INCLUDE_DIR="$STB" \
	-DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" >log 2>&1 || fail "$(cat log)"
"$CMAKE" --build cmake >log 2>&1 || fail "$(cat log)"
for consumer in cmake/by_cmake_{c,cxx}_{otplan,static}; do
	same "./$consumer"
done
[[ $(ldd cmake/by_cmake_c_otplan) == *"$libdir/libotplan.so.0"* ]] || fail "the shared library is not the installed one"
! ldd cmake/by_cmake_c_static | grep -q libotplan || fail "otplan::static needs libotplan.so"

title "the example at the head of the header"
awk '/^ \*     #include <otplan/ {on = 1} on {sub(/^ \*(     )?/, ""); print} on && /^}/ {exit}' \
	"$work/shared/include/otplan/otplan.h" >example.c
# shellcheck disable=SC2046
$CC -std=c11 "${warnings[@]}" example.c -o example $(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs otplan)
export LD_LIBRARY_PATH=$libdir
[[ $(./example run) == "the first value of the first draw is "* ]] || fail "the example says $(./example run)"
! ./example nothing 2>said || fail "the example opens what is not there"
[[ $(wc -l <said) == 1 ]] || fail "the example's error is $(cat said)"

title "errors are statuses"
# says PATTERN CONSUMER DEVICE MODEL: one line on stdout, nothing on stderr.
says() {
	local pattern=$1
	shift
	"$@" >said 2>&1 || fail "$*: ends with $?"
	[[ $(wc -l <said) == 1 && $(cat said) == $pattern ]] || fail "$*: $(cat said)"
}
echo "no model" >text.h5
head -c 3000 run/model.h5 >cut.h5
for consumer in ./shared-consumer ./static-consumer; do
	says "bad file: */nothing.h5: *" "$consumer" --error cpu "$work/nothing.h5"
	says "bad file: text.h5: *" "$consumer" --error cpu text.h5
	says "bad file: cut.h5: *" "$consumer" --error cpu cut.h5
	says "no such device: *abacus*" "$consumer" --error abacus run
	says "success: " "$consumer" --error cpu run
done

title "the CUDA plugin is looked for beside the installed library and program"
mkdir -p "$libdir/otplan"
echo 'int nothing;' | $CC -shared -fPIC -x c - -o "$libdir/otplan/otplan_cuda.so"
unset OTPLAN_CUDA_PLUGIN
says "no such device: cuda: $libdir/otplan/otplan_cuda.so is not a backend of otplan" ./shared-consumer --error cuda run
! "$program" translate run in.npy out.npy --device cuda 2>said || fail "the program runs on no backend"
[[ $(cat said) == *"/otplan/otplan_cuda.so is not a backend of otplan" ]] || fail "the program says $(cat said)"
