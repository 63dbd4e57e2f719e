#!/usr/bin/env bash
# translate and export over several processes: the files of one, and one that speaks.
. "$(dirname "$0")/processes.sh"

does train "${digits[@]}" "${images[@]}" --latent 3 --condition-noise off --sigma-end 0.4 --out run
does train "${lines[@]}" "${points[@]}" --out points
mkdir -p set/a/b
for i in {10..32}; do "$PROBE" png set/$i.png 16 16 3 "$i"; done
"$PROBE" png set/a/b/deep.png 16 16 4 2
"$PROBE" png set/long.png 70 18 3 3
"$PROBE" png set/a/large.png 40 50 3 4
printf 'no picture' >set/broken.png
"$PROBE" images stack.npy 41 16 16 3
"$PROBE" vectors v.npy 1500 2

title "translate: files, arrays, vectors"
alike() { # ARGUMENTS with OUT: by processes, all of it
	local code=$1 ending=$2 n
	shift 2
	exits "$code" "${@/OUT/one$ending}"
	cp err err1
	cp out out1
	for n in ${counts:-2 4}; do
		many "$n" "$code" "${@/OUT/by$n$ending}" --threads 1
		diff -r "one$ending" "by$n$ending" || depth=1 fail "$n processes, $*: other files"
		diff <(sed "s/by$n/one/" out) out1 || depth=1 fail "$n processes, $*: other results"
		diff <(grep -v '^--\|mpirun' err | grep 'otplan:' | sort) <(grep 'otplan:' err1 | sort) || depth=1 fail "$n processes, $*: other messages"
	done
}
counts='1 2 4' alike 3 '' translate run set OUT --samples 2
files by4 {10..32}_{0,1}.png a/b/deep_{0,1}.png a/large_{0,1}.png long_{0,1}.png
[[ $(grep -c 'skipped: .*broken' err) == 1 ]] || fail "not said once"
alike 3 t translate run set OUT --fit tile
alike 3 j translate run set OUT --format jpeg
[[ $(grep -c 'laid over white' err) == 1 ]] || fail "alpha: not said once"
for ending in npy npz h5; do
	alike 0 .$ending translate run stack.npy OUT --samples 3
done
alike 0 v.npy translate points v.npy OUT
alike 0 w.h5 translate points v.npy OUT --samples 40
alike 3 c.h5 translate run set OUT --fit crop
alike 0 l translate run 'stack.npy?limit=3' OUT # fewer than processes
many 2 3 translate run set by2 --samples 1 # what was made before is known, and replaced
files by2 {10..32}.png a/b/deep.png a/large.png long.png

title "export"
alike 0 x export run 'stack.npy?limit=39' OUT --for fid --target stack.npy --samples 3
alike 0 f export run 'stack.npy?limit=2' OUT --for fid --target stack.npy

title "eval: samples are drawn by all, with the figures of one"
measured() { # ARGUMENTS
	exits 0 eval "$@" --json
	cp out out1
	for n in 2 4; do
		many "$n" 0 eval "$@" --json --threads 1
		same out out1
	done
}
measured run --count 11 --samples 33
measured points --count 40 --samples 9
measured run --source 'stack.npy?limit=6' --truth 'stack.npy?limit=6'
many 2 2 eval run --source nothing
many 2 2 eval

title "one that fails: all end, with one line"
once() { [[ $(grep '^otplan: ' err | grep -vc ': skipped: ') == 1 ]] || depth=1 fail "not said once"; }
many 4 2 translate run nothing never
once
many 4 2 translate run set never.bmp
once
many 4 2 translate run set set
once
many 3 2 translate
once
many 3 2 export run set never --for nothing
once
missing never never.bmp
mkdir taken
"$PROBE" png taken/31.png 16 16 3 1
many 4 2 translate run set taken
once
warns '^otplan: taken/31.png: is there and is none of the outputs made here'
files taken 31.png
code=0 # the third process cannot write; who made what before is known
mpirun.openmpi -n 2 "$OTPLAN" translate run set half --threads 1 : -n 1 env LD_PRELOAD="$FAULT" OTP_FAULT=write:0:28:half/ "$OTPLAN" translate run set half --threads 1 \
	>out 2>err </dev/null || code=$?
[[ $code == 1 ]] || fail "exit code $code"
once
warns '^otplan: process 2 (.*): half/.*: '
many 2 3 translate run set half
many 1 3 translate run set whole
diff -r -x .otplan-outputs.jsonl whole half

title "a signal to one stops all"
mpirun.openmpi -n 2 "$OTPLAN" translate points 'synth:one-to-many-source?limit=2000000' long.npy --samples 20 --threads 1 >out 2>err </dev/null &
launcher=$!
until compgen -G '*long.npy*tmp-*' >never.txt; do
	kill -0 $launcher 2>/dev/null || fail "ended early"
	sleep 0.1
done
kill -s TERM "$(pgrep -P $launcher | tail -n 1)"
code=0
{ wait $launcher || code=$?; } 2>/dev/null
[[ $code == 143 ]] || fail "exit code $code"
warns '^otplan: .*translate: stopped by signal 15 after [0-9]* % of the inputs'
once
missing long.npy
tidy

title "what differs is refused"
code=0
mpirun.openmpi -n 1 "$OTPLAN" translate run set never : -n 1 "$OTPLAN" translate run set never --seed 2 >out 2>err </dev/null || code=$?
[[ $code == 2 ]] || fail "exit code $code"
once
warns 'processes differ: the number of words after the command is 5, that of process 0 (.*) is 3'
missing never

title "what is not split: said once"
for n in 2 4; do
	many $n 2 nosuchcommand
	once
	many $n 2 doctor set
	once
	warns '^otplan: doctor: is not split over processes'
	many $n 0 help
	[[ $(grep -c 'A data set is' out) == 1 ]] || fail "help: not once"
	many $n 0 train --help
	[[ $(grep -c '^otplan train' out) == 1 ]] || fail "help: not once"
	many $n 0 --version
	[[ $(wc -l <out) == 1 ]] || fail "version: not once"
done
