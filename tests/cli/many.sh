#!/usr/bin/env bash
# One run over several processes: the bits of one, wherever it is started, moved to, stopped and killed.
. "$(dirname "$0")/processes.sh"

figures() { grep -oE '"(step|loss_potential|loss_transport|cost|r1|sigma|transport_cost|target_distance|diversity)":[^,}]*' "$1/metrics.jsonl"; }
# alike RUN RUN: what was learned, measured and drawn.
alike() {
	diff <(figures "$1") <(figures "$2") >/dev/null || depth=2 fail "$1 and $2: other figures"
	cmp -s "$1/model.h5" "$2/model.h5" || depth=2 fail "$1 and $2: other models"
	diff -r "$1/samples" "$2/samples" >/dev/null || depth=2 fail "$1 and $2: other pictures"
}

drawn=("${digits[@]}" "${images[@]}" --batch 6 --noise-pairs --log-every 1 --snapshot-every 3 --sample-every 3)
placed=("${lines[@]}" "${points[@]}" --width 40 --potential-width 44 --batch 13 --log-every 2 --snapshot-every 3)

title "as many processes as one likes"
does train "${drawn[@]}" --parts 5 --threads 2 --out drawn
does train "${placed[@]}" --parts 5 --threads 2 --out placed
many 2 0 train "${drawn[@]}" --parts 5 --threads 1 --out drawn2
alike drawn drawn2
many 4 0 train "${drawn[@]}" --parts 5 --threads 1 --out drawn4
alike drawn drawn4
many 4 0 train "${placed[@]}" --parts 5 --threads 1 --out placed4
alike placed placed4
[[ $(grep -c 'step 6/6' err) == 1 && $(grep -c '^model ' out) == 1 ]] || fail "one process speaks"
warns '4 processes'
many 3 0 train "${placed[@]}" --parts 2 --threads 1 --out idle # one of them has no part
does train "${placed[@]}" --parts 2 --out idle1
alike idle1 idle
grep -q '1 of the processes only waits' idle/log.txt || fail "does not say that one is idle"
many 2 0 train "${placed[@]}" --micro-batch 3 --threads 1 --out micro
diff <(figures placed) <(figures micro) || fail "micro-batches: other figures"
same placed/samples/step-0000006.png micro/samples/step-0000006.png

title "from one layout to another and back"
does train "${drawn[@]}" --parts 5 --threads 2 --steps 3 --schedule-steps 6 --out moved
many 2 0 train --resume --out moved --steps 5 --threads 1
does train --resume --out moved --steps 6 --threads 1
does train "${drawn[@]}" --parts 5 --schedule-steps 6 --out stayed
diff <(figures stayed | tail -n 6) <(figures moved | tail -n 6) || fail "other figures"
same stayed/samples/step-0000006.png moved/samples/step-0000006.png

title "numbers that break: all roll back together"
broken=("${lines[@]}" "${points[@]}" --lr_g 0.2 --lr_d 0.2 --parts 4 --steps 300 --snapshot-every 80 --sample-every 300 --log-every 20)
does train "${broken[@]}" --out rolled
for n in 2 4; do
	many $n 0 train "${broken[@]}" --threads 1 --out rolled$n
	[[ $(grep -c '^rollback [12] of 3: ' err) == 2 ]] || fail "two rollbacks were meant, said once"
	alike rolled rolled$n
	diff <(grep '"rollback":' rolled/metrics.jsonl) <(grep '"rollback":' rolled$n/metrics.jsonl) || fail "other rollbacks"
	"$PROBE" state rolled/checkpoints/step-0000300.h5 rolled$n/checkpoints/step-0000300.h5 || fail "another state"
done
does train "${lines[@]}" "${points[@]}" --parts 4 --steps 20 --out calm
code=0
"$OTPLAN" train "${broken[@]}" --rollbacks 1 --out given >out 2>one.txt </dev/null || code=$?
[[ $code == 1 ]] || fail "exit code $code"
many 2 1 train "${broken[@]}" --rollbacks 1 --threads 1 --out given2
[[ $(grep -c '^otplan: given2: training broke down at step' err) == 1 ]] || fail "not said once"
diff <(grep '^otplan:' one.txt | sed 's/given/given2/') <(grep '^otplan:' err) || fail "another end"

title "a signal to any of them: all stop at one step"
long=("${placed[@]}" --parts 5 --threads 1 --steps 100000000 --schedule-steps 1000 --snapshot-every 100000000 --log-every 20)
begin() { # N ARGUMENTS...: in the background
	mpirun.openmpi -n "$@" >out 2>err </dev/null &
	launcher=$!
	until [[ $(cat run/metrics.jsonl 2>/dev/null | wc -l) -gt 2 ]]; do
		kill -0 $launcher 2>/dev/null || fail "ended early"
		sleep 0.1
	done
	mapfile -t ranks < <(pgrep -P $launcher)
}
gone() { # within a few seconds
	for pid in "${ranks[@]}"; do
		for _ in {1..50}; do
			kill -0 "$pid" 2>/dev/null || continue 2
			sleep 0.1
		done
		depth=1 fail "process $pid lives on"
	done
}
ends() {
	local code=0
	{ wait $launcher || code=$?; } 2>/dev/null
	[[ $code == "$1" ]] || depth=1 fail "exit code $code, expected $1"
	gone
}
begin 3 "$OTPLAN" train "${long[@]}" --out run
((${#ranks[@]} == 3)) || fail "not three processes"
kill -s TERM "${ranks[2]}"
ends 143
warns 'interrupted at step'
tidy
step=$(sed -nE 's/^interrupted at step ([0-9]+);.*/\1/p' err)
exists "run/checkpoints/step-$(printf %07d "$step").h5"
does train --resume --out run --steps $((step + 2))

title "one that dies takes the others with it, and the run goes on"
rm -rf run
begin 3 "$OTPLAN" train "${long[@]}" --out run
kill -s KILL "${ranks[1]}"
wait $launcher 2>/dev/null && fail "success" || true
gone
many 2 0 train --resume --out run --steps 30
rm -rf run

title "one that hangs is named"
begin 2 "$OTPLAN" train "${long[@]}" --process-timeout 2 --out run
kill -s STOP "${ranks[1]}"
wait $launcher 2>/dev/null && fail "success" || true
warns "^otplan: process 1 (.*, pid ${ranks[1]}): nothing was heard of it for 2 seconds"
does train --resume --out run --steps 30

title "what is refused"
code=0
RANK=0 WORLD_SIZE=2 "$OTPLAN" train "${placed[@]}" --out never >out 2>err </dev/null || code=$?
[[ $code == 2 ]] || fail "exit code $code"
complains 'mpirun -n 2 otplan'
many 2 2 train "${placed[@]}" --parts 50 --out never
[[ $(grep -c '^otplan: ' err) == 1 ]] || fail "said more than once"
many 2 2 verify
warns 'not split over processes'

title "processes that differ do not begin"
# differ WHAT A -- B: two processes, of which the second is another one. A and B are what follows `mpirun -n 1`.
differ_in() {
	local what=$1 code=0 first=()
	shift
	while [[ $1 != -- ]]; do first+=("$1") && shift; done
	shift
	timeout 100 mpirun.openmpi -n 1 "${first[@]}" : -n 1 "$@" >out 2>err </dev/null || code=$?
	[[ $code == 2 ]] || depth=1 fail "exit code $code"
	warns "^otplan: process 1 (.*): processes differ: $what"
	[[ $(grep -c '^otplan: ' err) == 1 ]] || depth=1 fail "not said once"
	missing never a/never b/never
}
begins=("$OTPLAN" train "${placed[@]}" --out never)
differ_in 'a setting is seed = 2, that of process 0 .* is seed = 1' "${begins[@]}" --seed 1 -- "${begins[@]}" --seed 2
differ_in 'a setting is steps = 7, that' "${begins[@]}" -- "${begins[@]}" --steps 7
differ_in 'a setting is out = another, that of process 0 .* is out = never' "${begins[@]}" -- "${begins[@]}" --out another
differ_in 'a setting is snapshot-every = 4' "${begins[@]}" -- "${begins[@]}" --snapshot-every 4
cp "$OTPLAN" other
echo >>other
export OTPLAN_MPI_PLUGIN=${OTPLAN%/*}/otplan_openmpi.so
differ_in 'the build is' "${begins[@]}" -- ./other train "${placed[@]}" --out never
unset OTPLAN_MPI_PLUGIN
differ_in 'what computes is' "${begins[@]}" -- env ONEDNN_MAX_CPU_ISA=SSE41 "${begins[@]}"
mkdir a b
for side in a b; do
	"$PROBE" vectors $side/same.npy 40 3
	cp $side/same.npy $side/rows.npy
	cp $side/same.npy $side/bytes.npy
done
"$PROBE" vectors b/rows.npy 41 3
printf 'XYZ' | dd of=b/bytes.npy bs=1 seek=300 conv=notrunc status=none
here=/proc/self/cwd # one path, two places
sets=("$OTPLAN" train "${points[@]}" --out never --threads 1)
for side in source target; do
	for what in rows bytes; do
		named=(--source $here/same.npy --target $here/same.npy --$side $here/$what.npy)
		differ_in "the digest of the $side is" -wdir a "${sets[@]}" "${named[@]}" -- -wdir b "${sets[@]}" "${named[@]}"
	done
	named=(--source $here/same.npy --target $here/same.npy --test-source $here/same.npy --test-target $here/same.npy --test-$side $here/bytes.npy)
	differ_in "the digest of the $side's test set is" -wdir a "${sets[@]}" "${named[@]}" -- -wdir b "${sets[@]}" "${named[@]}"
done
