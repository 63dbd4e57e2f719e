# shellcheck shell=bash
# What tests of several processes share, after lib.sh.
. "$(dirname "$0")/lib.sh"

if [[ ! -e ${OTPLAN%/*}/otplan_openmpi.so ]] || ! command -v mpirun.openmpi >/dev/null; then
	echo "skipped: no Open MPI (libopenmpi-dev, openmpi-bin) when this was built"
	exit 77
fi
# More processes than cores, and root in containers, are fine here.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none

# many N CODE ARGUMENTS...: otplan in N processes.
many() {
	local count=$1 expected=$2 code=0
	shift 2
	timeout 100 mpirun.openmpi -n "$count" "$OTPLAN" "$@" >out 2>err </dev/null || code=$?
	[[ $code == "$expected" ]] || depth=2 fail "$count processes, otplan $*: exit code $code, expected $expected"
	tidy
}
