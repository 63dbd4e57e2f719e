#!/usr/bin/env bash
# The program with the CUDA backend's host code, on the fake device: it comes to its end, leaves nothing behind
# (else its exit code is 99), computes what the CPU does, and the same bits in whatever order work is done.
. "$(dirname "$0")/lib.sh"

trains() { does train "${lines[@]}" "${points[@]}" "${device[@]}" --snapshot-every 3 "$@"; }
paints() { does train "${digits[@]}" "${images[@]}" "${device[@]}" --snapshot-every 3 "$@"; }
value() { tail -n 1 "$1/metrics.jsonl" | grep -o "\"$2\":[^,]*" | cut -d: -f2; }
equal_states() { "$PROBE" state {"$1","$2"}/checkpoints/step-0000006.h5 || fail "states of $1 and $2 differ"; }

# near A B TOLERANCE: the losses of the last step, relative to their size. (That of the potential is the difference of
# two means, which lose as many more digits as they are larger.)
near() {
	local loss
	for loss in loss_potential loss_transport cost; do
		awk -v a="$(value "$1" $loss)" -v b="$(value "$2" $loss)" -v most="$3" \
			'BEGIN { d = a - b; exit !(a != 0 && d * d <= most * most * a * a) }' || fail "$loss of $1 and $2 differ"
	done
}

title "vectors: no order of work that CUDA allows, captured or not, changes a bit"
trains --out vectors
for order in early 3 11; do
	OTPLAN_FAKE_ORDER=$order trains --out "order-$order"
	same vectors/model.h5 "order-$order/model.h5"
done
OTPLAN_CUDA_GRAPHS=0 trains --out one-by-one
same vectors/model.h5 one-by-one/model.h5

title "pictures in float32: as on the CPU, up to roundings that six steps amplify"
does train "${digits[@]}" "${images[@]}" --device cpu --precision f32 --out cpu
paints --precision f32 --out f32
near cpu f32 1e-4

title "a GPU older than compute capability 8.0 takes float32, by the same calls; a still older one is refused"
OTPLAN_FAKE_CAPABILITY=75 paints --out old
grep -q '^precision = f32' old/config.ini || fail "not float32"
same f32/model.h5 old/model.h5
for precision in bf16 tf32; do
	OTPLAN_FAKE_CAPABILITY=75 refuses 2 --precision train "${digits[@]}" "${images[@]}" "${device[@]}" --precision $precision --out none
done
OTPLAN_FAKE_CAPABILITY=61 refuses 1 'at least 7.0' train "${digits[@]}" "${images[@]}" "${device[@]}" --out none

title "the second half of that run, in other orders, one by one, streamed, and with the choices kept"
choices=$(find choices -name 'cudnn-*.txt')
exists "$choices"
cp "$choices" kept
cp -r f32 half
rm half/checkpoints/step-0000006.h5 half/model.h5
OTPLAN_FAKE_ORDER=7 OTPLAN_CUDA_GRAPHS=0 does train --resume --out half --data-on-device off
equal_states f32 half
same kept "$choices"

title "bfloat16: near float32"
paints --precision bf16 --out bf16
near f32 bf16 0.1

title "translating is repeated bit for bit, though all choices have to be made again"
does translate f32 'synth:digits?limit=3' one --samples 2 "${device[@]}"
sed -i 's/^[0-9]* [0-9]*/0 17/' "$choices"
does translate f32 'synth:digits?limit=3' two --samples 2 "${device[@]}"
diff -r -x .otplan-outputs.jsonl one two || fail "translations differ"
differ kept "$choices"
