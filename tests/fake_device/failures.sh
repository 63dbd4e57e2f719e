#!/usr/bin/env bash
# The CUDA backend where the device refuses, and that the fake device sees what no device would forgive.
. "$(dirname "$0")/lib.sh"

trains() { "$1" "${@:2}" train "${lines[@]}" "${points[@]}" "${device[@]}" --steps 3 --out "run-$RANDOM$RANDOM"; }

# Exit code 1 and one line of ours; nothing of the fake device's.
title "a device that cannot be opened is an error in a line"
for call in cudaGetDeviceCount:1 cudaGetDeviceProperties:1 cudaStreamCreateWithFlags:1 cudnnCreate:1 cublasLtCreate:1 \
	cudaMallocHost:1 cudaEventCreateWithFlags:3; do
	OTPLAN_FAKE_FAIL=$call trains refuses 1 cuda
done

title "memory that runs out is told, wherever it does"
for nth in 1 2 3 4; do
	OTPLAN_FAKE_FAIL=cudaMalloc:$nth+ trains exits 1
	complains 'out of memory'
done
OTPLAN_FAKE_MEMORY=20000 trains exits 2
complains 'device memory: the run takes'

title "a product that cannot be had is an error in a line"
OTPLAN_FAKE_FAIL=cublasLtMatmulAlgoGetHeuristic:1 trains exits 1
complains cublas

title "a call that fails amid the work ends the program with its name"
for call in cublasLtMatmul:9 launch:40 cudaMemcpyAsync:5 cudaGraphLaunch:2 cudaStreamSynchronize:4; do
	OTPLAN_FAKE_FAIL=$call trains exits 1
	tail -n 1 err | grep -q '^otplan: cu.*device 0 (Fake device, no GPU)' || fail "$call: no line of the backend's"
done

title "a capture that is refused is told, and the run goes on"
for call in cudaStreamBeginCapture:1 cudaStreamEndCapture:1 cudaGraphInstantiate:1 captured:5; do
	OTPLAN_FAKE_FAIL=$call trains exits 0
	warns 'cannot be captured and runs call by call'
done

title "plans that cannot be built: another one is, or the line says so"
bench=(bench "${images[@]:0:10}" --batch 1 --seconds 0.01 --peak-gbs 1 --peak-tflops 1 "${device[@]}")
OTPLAN_FAKE_FAIL=plan:1,plan:4 does "${bench[@]}"
OTPLAN_FAKE_FAIL=plan:1+ OTPLAN_CUDA_CACHE=none exits 1 "${bench[@]}"
complains 'computes the convolution'
