# shellcheck shell=bash
# What the tests of the program on the fake device share; each sources it first.
#   OTPLAN_CUDA_PLUGIN  the plugin of tests/fake_device, beside what tests/cli/lib.sh asks for
. "$(dirname "$0")/../cli/lib.sh"

export OTPLAN_CUDA_CACHE=$work/choices
unset OTPLAN_CUDA_GRAPHS OTPLAN_CUDA_COMPILED OTPLAN_CUDA_NONDETERMINISTIC
unset OTPLAN_FAKE_CAPABILITY OTPLAN_FAKE_ORDER OTPLAN_FAKE_FAIL OTPLAN_FAKE_MEMORY OTPLAN_FAKE_SLOW OTPLAN_FAKE_OLD

device=(--device cuda)

