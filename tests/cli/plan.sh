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
