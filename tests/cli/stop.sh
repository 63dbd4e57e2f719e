#!/usr/bin/env bash
# A run and the world around it: one process, signals, time limits, files that end; and how to go on from one.
. "$(dirname "$0")/lib.sh"

long=("${lines[@]}" "${points[@]}" --steps 100000000 --snapshot-every 100000000 --sample-every 100000000 --log-every 20)
newest() { find "$1/checkpoints" -name 'step-*.h5' | sort | tail -n 1; }
records() { cat "$1/metrics.jsonl" 2>/dev/null | wc -l; }
# Both take $pid. Until RUN has trained some more steps:
amid() {
	local goal=$(($(records "$1") + 2))
	while kill -0 "$pid" 2>/dev/null && (($(records "$1") < goal)); do sleep 0.02; done
}
# Nothing trains on where a test has failed.
pid=
trap '[[ -z $pid ]] || kill -s KILL $pid 2>/dev/null || true; rm -rf "$work"' EXIT
begin() { # ARGUMENTS...: in the background
	env --default-signal=HUP "$OTPLAN" train "$@" >out 2>err </dev/null & # also where the tests run under nohup
	pid=$!
}
ends() {
	local code=0
	{ wait "$pid" || code=$?; } 2>/dev/null
	pid=
	[[ $code == "$1" ]] || depth=1 fail "exit code $code, expected $1"
}

title "one run, one process"
begin "${long[@]}" --out run
amid run
exists run/lock run/checkpoints/step-0000000.h5
refused() {
	local code=0
	find run -newer run/lock ! -name metrics.jsonl ! -name log.txt | sort >before
	"$OTPLAN" train "$@" >out2 2>err2 </dev/null || code=$?
	[[ $code == 2 && $(wc -l <err2) == 1 ]] || fail "otplan train $*: exit code $code: $(cat err2)"
	grep -q "$word" err2 || fail "the refusal does not say '$word': $(cat err2)"
	diff before <(find run -newer run/lock ! -name metrics.jsonl ! -name log.txt | sort) || fail "touched"
}
: >run/checkpoints/step-0000009.h5.tmp-1 # perhaps the other's
word="held by process $pid on $(uname -n)" refused --resume --out run
word='holds a run already' refused "${long[@]}" --out run
exists run/lock
[[ -e run/checkpoints/step-0000009.h5.tmp-1 ]] || fail "another's temporary was swept"
kill -s KILL $pid
ends 137
[[ -e run/lock ]] || fail "a killed process cleans nothing up"
begin --resume --out run # a crash frees the lock
amid run
kill -s TERM $pid
ends 143
missing run/lock run/checkpoints/step-0000009.h5.tmp-1
tidy

title "two started at once: one trains"
begin "${long[@]}" --max-time 3s --out twice
code=0 first=0
"$OTPLAN" train "${long[@]}" --max-time 3s --out twice >out2 2>err2 </dev/null || code=$?
{ wait $pid || first=$?; } 2>/dev/null
pid=
[[ $code:$first == 2:4 || $code:$first == 4:2 ]] || fail "exit codes $code and $first"
tidy
does info twice

title "signals: a checkpoint first"
for each in INT:130 TERM:143 HUP:129; do
	rm -rf run
	begin "${long[@]}" --out run
	amid run
	kill -s "${each%:*}" $pid
	ends "${each#*:}"
	warns '^stopping after this step, again to leave at once$'
	warns '^interrupted at step [0-9]*; continue with --resume$'
	[[ $(newest run) != *step-0000000.h5 ]] || fail "no checkpoint"
	tidy
	exists run/model.h5
	does info run
done

title "a second one leaves at once"
"$PROBE" vectors wide.npy 4096 512
begin --source wide.npy --target wide.npy --preset vector --width 512 --potential-width 512 --batch 4096 --threads 1 \
	--steps 1000 --out slow # seconds a step
while kill -0 $pid && ! [[ -e slow/checkpoints/step-0000000.h5 ]]; do sleep 0.05; done
kill -s INT $pid
sleep 0.3
kill -s TERM $pid
# A step that ends between the two signals has nothing to show here, but nothing to hide either.
code=0
{ wait $pid || code=$?; } 2>/dev/null
pid=
if grep -q interrupted err; then [[ $code == 130 || $code == 143 ]]; else [[ $code == 143 ]]; fi || fail "exit code $code"
does info slow

title "USR1: a picture and a checkpoint, then on"
rm -rf run
begin "${long[@]}" --out run
amid run
kill -s USR1 $pid
while kill -0 $pid 2>/dev/null && ! grep -q 'were asked for' err; do sleep 0.02; done
[[ $(find run/samples -name '*.png' | wc -l) == 1 ]] || fail "no picture"
[[ $(newest run) != *step-0000000.h5 ]] || fail "no checkpoint"
amid run
kill -s INT $pid
ends 130

title "a checkpoint by the clock: a killed run loses minutes, whatever --snapshot-every says"
rm -rf run
begin "${long[@]}" --snapshot-minutes 0.005 --out run
while kill -0 $pid 2>/dev/null && [[ $(newest run) == *step-0000000.h5 || ! -e run/model.h5 ]]; do sleep 0.02; done
kill -s KILL $pid
ends 137
does info run
begin --resume --snapshot-minutes 0 --out run
was=$(newest run)
amid run
sleep 0.5
[[ $(newest run) == "$was" ]] || fail "a checkpoint that nobody asked for"
kill -s TERM $pid
ends 143

title "nohup's promise is kept"
rm -rf run
(
	trap '' HUP
	exec "$OTPLAN" train "${long[@]}" --out run >out 2>err </dev/null
) &
pid=$!
amid run
kill -s HUP $pid
amid run
kill -s INT $pid
ends 130

title "--max-time"
rm -rf run
exits 4 train "${long[@]}" --out run --max-time 2s
warns '^--max-time is nearly up: stopped at step [0-9]*; continue with --resume$'
[[ $(newest run) != *step-0000000.h5 ]] || fail "no checkpoint"
last=$(newest run)
last=${last##*/}
exists "run/samples/${last%.h5}.png"
exits 4 train --resume --out run --max-time 0h0m2s
! grep -q max-time run/config.ini || fail "the limit is the command's"
does train "${lines[@]}" "${points[@]}" --max-time 1d2h --out quick
for wrong in x 5x 3h4 -5 0 1e400h 5mm; do
	refuses 2 'is no time' train "${lines[@]}" "${points[@]}" --out never --max-time=$wrong
done
missing never

title "a limit of the files' size"
code=0
(
	ulimit -f 40
	exec "$OTPLAN" train "${lines[@]}" "${points[@]}" --steps 3000 --log-every 1 --snapshot-every 10 --out limited
) >out 2>err </dev/null || code=$?
[[ $code == 1 ]] || fail "exit code $code"
complains 'File too large'
! grep -q 'signal' err || fail "killed"
does info limited
does train --resume --out limited --steps 3000

title "a data file that becomes shorter while it is read"
"$PROBE" vectors mapped.npy 20000 64
begin --source mapped.npy --target mapped.npy --preset vector --width 8 --blocks 1 --potential-width 8 --potential-blocks 1 \
	--batch 64 --threads 2 --steps 100000000 --snapshot-every 20 --log-every 20 --out cut
amid cut
truncate -s 4096 mapped.npy
ends 1
complains mapped.npy
complains 'became shorter'
does info cut

title "a folder that cannot be written to shows at once"
: >file
exits 2 train "${lines[@]}" "${points[@]}" --out file/run
complains file/run

title "--from: a run's networks, with new settings"
does train "${lines[@]}" "${points[@]}" --lr_g 2e-3 --out old
does train --from old --steps 5 --out new
warns '^starting from .*/old/checkpoints/step-0000006.h5, step 6: generator (its moving average) and potential$'
warns 'sigma starts at 1 again, its training ended at 0.1: --sigma-start 0.1'
grep -qx 'lr_g = 0.002' new/config.ini || fail "its settings are the defaults"
grep -qx 'width = 8' new/config.ini || fail "its architecture"
grep -qx "from = $PWD/old" new/config.ini || fail "where it comes from"
does train --from old --lr_g 0 --lr_d 0 --steps 5 --schedule-steps 5 --out still # what it does is what it did
"$PROBE" vectors points.npy 16 2
does translate old/model.h5 points.npy a.npy
does translate still/model.h5 points.npy b.npy
"$PROBE" arrays a.npy b.npy 1e-6
does train --from old/checkpoints/step-0000006.h5 --steps 5 --out new2
same {new,new2}/samples/step-0000005.png
does train --from old/model.h5 --out new3 --steps 5
warns 'the generator; a model file has no potential, so that one starts anew'
does train --from old --preset vector --source points.npy --target points.npy --sigma-start 0.2 --steps 5 --out new4
grep -qx 'lr_g = 0.0005' new4/config.ini || fail "a preset that is named"
grep -qx 'width = 8' new4/config.ini || fail "the architecture stays"
refuses 2 --width train --from old --width 16 --out never
refuses 2 --start train --from old --start aimed --out never
refuses 2 nowhere train --from nowhere --out never
refuses 2 quick/config.ini train --from quick/config.ini --out never
refuses 2 'holds a run already' train --from old --out old
missing never
"$PROBE" vectors three.npy 16 3
exits 2 train --from old --source three.npy --target three.npy --out never3
complains 'has networks for vectors of 1x1x2, these data are vectors of 1x1x3'

title "--from, killed before its first step, still starts from there"
rm new/checkpoints/* new/model.h5
does train --resume --out new
warns '^starting from .*/old/checkpoints/step-0000006.h5'
same {new,new2}/samples/step-0000005.png

title "--from a run of pictures, towards other data"
does train "${digits[@]}" "${images[@]}" --out drawn
does train --from drawn --target synth:digits-hsv --source synth:digits --steps 2 --out redrawn
does train --resume --out redrawn --steps 3
