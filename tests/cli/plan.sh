#!/usr/bin/env bash
# --plan and --dry-run: what a run takes is known before anything is taken, and is what the run then takes.
. "$(dirname "$0")/lib.sh"

# The plan's peak of host memory, in KiB.
planned() {
	"$OTPLAN" train "$@" --plan >out 2>err || fail "no plan: $*"
	awk '$1 == "memory" && $4 == "at" { print int($2 * ($3 == "KiB" ? 1 : $3 == "MiB" ? 1024 : 1048576)) }' out
}

# agrees ARGUMENTS...: the run's peak is within a tenth of the plan's.
agrees() {
	local plan peak
	runs=$((runs + 1))
	plan=$(planned "$@")
	peak=$("$PROBE" peak "$OTPLAN" train "$@" --out "run$runs" 2>err)
	((plan * 10 >= peak * 9 && plan * 10 <= peak * 11)) || fail "planned $plan KiB, the run took $peak KiB: $*"
	echo "   planned $plan KiB, took $peak KiB"
}
runs=0

title "what is planned is what is taken"
# A sanitizer keeps its own books beside every byte: there is nothing to compare.
if ! grep -q -e __asan_init -e __tsan_init "$OTPLAN"; then
	agrees --preset quickstart "${digits[@]}" --steps 4 --threads 2
	agrees --preset quickstart "${digits[@]}" --steps 2 --threads 1 --image-size 32
	agrees --preset vector "${lines[@]}" --steps 4 --threads 2
	agrees --preset vector "${lines[@]}" --steps 4 --threads 1 --width 512 --batch 1024
fi

title "a plan takes nothing, whatever it is the plan of"
does train "${digits[@]}" "${images[@]}" --plan
for kind in weights moments gradients activations scratch drawing data batches checkpoints model memory; do
	says "$kind"
done
missing run
does train --preset 256 "${digits[@]}" --device cpu --batch 65536 --plan
says 'does not fit.*largest batch that fits is --batch'
does train --preset quickstart "${digits[@]}" --batch 65536 --plan
if ! grep -q -e __asan_init -e __tsan_init "$OTPLAN"; then
	# What the program's own start needs, found to 16 MiB, and 64 MiB more: the plan below is of 4 GiB.
	least=16384
	until (ulimit -v "$least" && "$OTPLAN" --version >/dev/null 2>&1); do
		least=$((least + 16384))
	done
	(
		ulimit -v $((least + 65536))
		"$OTPLAN" train --preset 64 "${digits[@]}" --device cpu --threads 2 --batch 16 --plan >out 2>err
	) || fail "no plan within $((least + 65536)) KiB of address space"
	says 'does not fit'

	title "what does not fit is refused before anything is trained"
	(
		ulimit -v $((least + 524288))
		from=2 refuses 2 'largest batch that fits is --batch' train --preset quickstart "${digits[@]}" \
			--threads 1 --batch 2048 --out small
	)
	missing small
fi

title "a rehearsal says what is done to the data and how long the run will take"
mkdir odd
for i in 1 2 3; do "$PROBE" png odd/$i.png 20 $((20 + i)) 3 $i; done
does train --source odd --target synth:digits "${images[@]}" --dry-run
says 'source .*3 samples.*stored as 20x21 to 20x23.*3 of colour.*trained as 16x16x3, resized'
says "time .* steps of .* s"
does train "${lines[@]}" "${points[@]}" --dry-run
says "time .*about .* for 6 steps of .* s"

title "--micro-batch: the bits of a run of as many parts"
losses() { grep -oE '"(step|loss_potential|loss_transport|cost|r1)":[^,}]*' "$1/metrics.jsonl"; }
for what in images points; do
	if [[ $what == images ]]; then run=("${digits[@]}" "${images[@]}"); else run=("${lines[@]}" "${points[@]}"); fi
	does train "${run[@]}" --batch 7 --log-every 1 --parts 4 --out parts-$what
	does train "${run[@]}" --batch 7 --log-every 1 --threads 1 --micro-batch 2 --out micro-$what
	diff <(losses parts-$what) <(losses micro-$what) || fail "other losses"
	same {parts,micro}-$what/samples/step-0000006.png
	grep -qx 'parts = 4' micro-$what/config.ini || fail "the parts are not named"
	does train --resume --out micro-$what --steps 8
done
refuses 2 --micro-batch train "${digits[@]}" "${images[@]}" --micro-batch 5 --out never # of a batch of 4
refuses 2 --micro-batch train "${digits[@]}" "${images[@]}" --micro-batch 2 --parts 3 --out never
refuses 2 --micro-batch train "${lines[@]}" "${points[@]}" --batch 4096 --micro-batch 3 --out never
refuses 2 --micro-batch train --resume --out micro-points --micro-batch 1

title "--memory: the largest micro-batch that fits"
wide=("${lines[@]}" --preset vector --width 256 --potential-width 256 --batch 2048 --threads 1)
whole=$(planned "${wide[@]}")
one=$(planned "${wide[@]}" --micro-batch 2)
some=$(((whole + one) / 2))
((one < some && some < whole)) || fail "smaller pieces take no less: $one, $whole KiB"
((some >= $(planned "${wide[@]}" --memory ${some}K))) || fail "more than $some KiB"
says 'batch 2048 in [0-9]* parts of at most'
does train "${wide[@]}" --memory ${some}K --steps 1 --out chosen
micro=$(sed -n 's/^micro-batch = //p' chosen/config.ini)
((micro > 2 && micro < 2048)) || fail "a micro-batch of $micro was kept"
((some < $(planned "${wide[@]}" --micro-batch $((2 * micro))))) || fail "twice as many would fit"
refuses 2 'is too little' train "${wide[@]}" --memory 1M --out never
# What the refusal names is enough, though pieces of one sample may take more.
many=("${lines[@]}" --preset vector --width 1024 --potential-width 1024 --batch 64 --threads 2)
refuses 2 'is too little' train "${many[@]}" --memory 1M --out never
named=$(grep -oE 'takes [0-9.]+ MiB' err | grep -oE '[0-9.]+')
does train "${many[@]}" --memory "$(awk "BEGIN { print int(1024 * $named * 1.02) }")K" --plan
refuses 2 'is no size' train "${wide[@]}" --memory 8X --out never
refuses 2 'cannot be combined' train "${wide[@]}" --memory 8G --parts 2 --out never
refuses 2 'resumed run' train --resume --out chosen --memory 8G
missing never
