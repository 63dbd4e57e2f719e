#!/usr/bin/env bash
# One run over several processes with a GPU each: the CUDA backend and its NCCL home on the fake device, with a made-up NCCL.
. "$(dirname "$0")/lib.sh"

if [[ $(nm -D "$OTPLAN_CUDA_PLUGIN") != *ncclReduceScatter* ]]; then
	echo "skipped: no nccl.h when this was built"
	exit 77
fi
export OTPLAN_NCCL_LIBRARY=$OTPLAN_CUDA_PLUGIN MASTER_ADDR=127.0.0.1 TMPDIR=$work/tmp
export MASTER_PORT=$((20000 + $$ % 20000))
unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE TORCHELASTIC_USE_AGENT_STORE
mkdir "$TMPDIR"

# begin N ARGUMENTS...: that many processes in the background, their ids in `ranks`.
begin() {
	local rank count=$1
	shift
	ranks=()
	MASTER_PORT=$((MASTER_PORT + 1))
	for ((rank = 0; rank < count; rank++)); do
		RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$count timeout 100 "$OTPLAN" "$@" >"out.$rank" 2>"err.$rank" </dev/null &
		ranks+=($!)
	done
}
# ends CODE...: of each process, or one for all.
ends() {
	local rank code
	for rank in "${!ranks[@]}"; do
		code=0
		wait "${ranks[rank]}" || code=$?
		local expected=${1}
		(($# == 1)) || expected=${*:rank+1:1}
		[[ $code == "$expected" ]] || { cat err.*; depth=${from:-1} fail "process $rank: exit code $code, expected $expected"; }
	done
	[[ -z $(ls "$TMPDIR") ]] || depth=${from:-1} fail "left in the temporary folder: $(ls "$TMPDIR")"
	tidy
}
trains() { # N ARGUMENTS...
	begin "$1" train "${placed[@]}" "${device[@]}" "${@:2}"
	from=2 ends 0
}
figures() { grep -oE '"(step|loss_potential|loss_transport|cost|r1|sigma|transport_cost|target_distance|diversity)":[^,}]*' "$1/metrics.jsonl"; }
# alike RUN RUN: what was learned, measured and drawn.
alike() {
	diff <(figures "$1") <(figures "$2") >/dev/null || depth=2 fail "$1 and $2: other figures"
	cmp -s "$1/model.h5" "$2/model.h5" || depth=2 fail "$1 and $2: other models"
}

# Few: generated sets are looked at with thousands of samples by every process that starts.
"$PROBE" vectors a.npy 200 2
"$PROBE" vectors b.npy 210 2
placed=(--source a.npy --target b.npy "${points[@]}" --width 40 --potential-width 44 --batch 13 --log-every 2 --snapshot-every 3)

title "the bits repeat, whatever order devices work in, captured or not; of two parts they are one process's"
trains 2 --out two
[[ ! -s out.1 && ! -s err.1 ]] || fail "two processes speak"
grep -q '2 processes' two/log.txt || fail "does not say that there are two"
OTPLAN_FAKE_ORDER=5 OTPLAN_CUDA_GRAPHS=0 trains 2 --out one-by-one
alike two one-by-one
does train "${placed[@]}" "${device[@]}" --parts 2 --out parts
alike two parts

title "sums that begin in the backward pass, in buckets, change no bit"
trains 2 --batch 12 --out whole
OTPLAN_CUDA_BUCKET=2000 OTPLAN_FAKE_ORDER=stream:2 trains 2 --batch 12 --out buckets
alike whole buckets
OTPLAN_CUDA_BUCKET=2000 OTPLAN_FAKE_FAIL=captured:9 trains 2 --batch 12 --out uncaptured
grep -q 'cannot be captured' err.0 || fail "does not say that a step cannot be captured"
alike whole uncaptured
OTPLAN_CUDA_BUCKET=2000 OTPLAN_FAKE_FAIL=ncclReduce:1 begin 2 train "${placed[@]}" "${device[@]}" --batch 12 --out refused
ends 1 # there are buckets

# Sums of four floats differ by a few of their roundings. What that does in one step is derived, and asserted, in
# tests/cuda_layouts.c; of six steps this is ten times what was measured, and no proof.
value() { tail -n 1 "$1/metrics.jsonl" | grep -o "\"$2\":[^,]*" | cut -d: -f2; }
near() {
	local loss
	for loss in loss_potential loss_transport cost; do
		awk -v a="$(value "$1" $loss)" -v b="$(value "$2" $loss)" -v n=$loss \
			'BEGIN { d = (a - b) / a; printf "   %s: %.1e apart\n", n, d; exit !(d * d <= 1e-12) }' ||
			depth=2 fail "$loss of $1 and $2 differ"
	done
}

title "four repeat their bits, and are near one process: sums are in another order"
trains 4 --out four
trains 4 --out again
alike four again
does train "${placed[@]}" "${device[@]}" --parts 4 --out parts4
near four parts4

title "some compute several parts, some none; pictures, with what is rounded to bfloat16"
trains 3 --parts 5 --out several
trains 3 --parts 2 --out idle
grep -q '1 of the processes only waits' idle/log.txt || fail "does not say that one is idle"
does train "${placed[@]}" "${device[@]}" --parts 2 --out idle1
alike idle idle1
drawn=("${digits[@]}" "${images[@]}" --batch 4 --precision bf16 --noise-pairs --steps 2)
begin 2 train "${drawn[@]}" "${device[@]}" --out drawn
ends 0
does train "${drawn[@]}" "${device[@]}" --parts 2 --out drawn1
alike drawn drawn1

title "from four processes to one to two"
trains 4 --steps 2 --schedule-steps 6 --out moved
does train --resume --out moved --steps 4
begin 2 train --resume --out moved --steps 6
ends 0
# Not through a pipe: what writes into one that grep has left fails, now and then.
warns2() { grep -q -e "$1" err.* || { cat err.*; fail "stderr does not say '$1'"; }; }
near four moved

title "a signal to any of them: all stop at one step"
long=("${placed[@]}" --steps 100000000 --schedule-steps 1000 --snapshot-every 100000000 --log-every 20)
started() {
	begin "$1" train "${long[@]}" "${device[@]}" "${@:2}" --out run
	until [[ $(cat run/metrics.jsonl 2>/dev/null | wc -l) -gt 2 ]]; do
		kill -0 "${ranks[0]}" 2>/dev/null || { cat err.*; fail "ended early"; }
		sleep 0.1
	done
	pids=()
	local rank
	for rank in "${ranks[@]}"; do pids+=("$(pgrep -P "$rank")"); done # timeout's child
}
started 3
kill -s TERM "${pids[2]}"
ends 143
warns2 'interrupted at step'
step=$(sed -nE 's/^interrupted at step ([0-9]+);.*/\1/p' err.0)
begin 2 train --resume --out run --steps $((step + 2))
ends 0
rm -rf run

title "one that dies ends the others, with a line that names it, and the run goes on"
OTPLAN_FAKE_SILENT=1 started 3 # where NCCL itself would wait for ever
kill -s KILL "${pids[1]}"
ends 1 137 1
warns2 "^otplan: process 1 (.*, pid ${pids[1]}): it ended; all end, continue with --resume"
begin 2 train --resume --out run --steps 30
ends 0
rm -rf run

title "one that hangs is named"
rm -f err.*
started 2 --process-timeout 4 # longer than a busy machine leaves a process waiting
kill -s STOP "${pids[1]}"
wait "${ranks[0]}" && fail "success" || true
kill -s KILL "${pids[1]}"
wait "${ranks[1]}" 2>/dev/null || true
warns2 "^otplan: process 1 (.*, pid ${pids[1]}): nothing was heard of it for 4 seconds"
rm -rf run

title "what is refused"
begin 2 train "${placed[@]}" --device cpu --out never
ends 2 0
complains0() { tail -n 1 err.0 | grep -q -e "$1" || { cat err.*; depth=1 fail "the error does not say '$1'"; }; }
complains0 'mpirun -n 2 otplan'
begin 2 train "${placed[@]}" "${device[@]}" --parts 50 --out never
ends 2 0
complains0 parts
[[ $(cat err.* | grep -c '^otplan: ') == 1 ]] || fail "said more than once"
OTPLAN_NCCL_LIBRARY=none.so begin 2 train "${placed[@]}" "${device[@]}" --out never
ends 1
complains0 'NCCL: several GPUs need it'
MASTER_ADDR='' begin 2 train "${placed[@]}" "${device[@]}" --out never
ends 1
complains0 'MASTER_ADDR is not set'
OTPLAN_FAKE_FAIL=ncclCommInitRankConfig:1 begin 2 train "${placed[@]}" "${device[@]}" --out never
ends 1
complains0 'cannot be connected'
OTPLAN_FAKE_ABSENT=1 begin 2 train "${placed[@]}" "${device[@]}" --process-timeout 2 --out never
ends 1
# Either may have waited long enough first; it tells, and ends the other.
grep -q 'NCCL: process [01] of 2 has waited 2 seconds for the others' err.0 err.1 || { cat err.*; fail "nobody tells"; }
RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 exits 1 train "${placed[@]}" "${device[@]}" --process-timeout 2 --out never
complains '1 of 2 processes came in 2 seconds; process 1 is the first that did not'
rm -rf "${TMPDIR:?}"/* # what an NCCL that no process joins leaves
MASTER_PORT=$((MASTER_PORT + 1))
RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 "$OTPLAN" train "${placed[@]}" "${device[@]}" --seed 1 --out never >out.0 2>err.0 </dev/null &
ranks=($!)
RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 "$OTPLAN" train "${placed[@]}" "${device[@]}" --seed 2 --out never >out.1 2>err.1 </dev/null &
ranks+=($!)
ends 2
warns2 'processes differ: a setting is seed = 2, that of process 0 .* is seed = 1'
missing never

if [[ -e ${OTPLAN%/*}/otplan_openmpi.so ]] && command -v mpirun.openmpi >/dev/null; then
	title "started by mpirun: MPI brings the id, the devices do the rest"
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
	export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
	unset MASTER_ADDR MASTER_PORT
	timeout 100 mpirun.openmpi -n 2 "$OTPLAN" train "${placed[@]}" "${device[@]}" --out mpi >out 2>err </dev/null || fail "exit code $?"
	alike two mpi
	title "a process that never comes to NCCL's start"
	code=0
	OTPLAN_FAKE_ABSENT=1 timeout 100 mpirun.openmpi -n 2 "$OTPLAN" train "${placed[@]}" "${device[@]}" --process-timeout 3 --out never >out 2>err </dev/null || code=$?
	[[ $code == 1 && $(grep -c '^otplan: NCCL: process 0 of 2 has waited 3 seconds for the others' err) == 1 ]] || fail "exit code $code"
	missing never
fi
