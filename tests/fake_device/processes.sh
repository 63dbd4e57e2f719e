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

placed=("${lines[@]}" "${points[@]}" --width 40 --potential-width 44 --batch 13 --log-every 2 --snapshot-every 3)

title "the bits repeat, whatever order devices work in, captured or not; of two parts they are one process's"
trains 2 --out two
[[ ! -s out.1 && ! -s err.1 ]] || fail "two processes speak"
grep -q '2 processes' two/log.txt || fail "does not say that there are two"
OTPLAN_FAKE_ORDER=early trains 2 --out early
alike two early
OTPLAN_FAKE_ORDER=5 OTPLAN_CUDA_GRAPHS=0 trains 2 --out one-by-one
alike two one-by-one
does train "${placed[@]}" "${device[@]}" --parts 2 --out parts
alike two parts
