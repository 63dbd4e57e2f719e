#!/usr/bin/env bash
# Files of format version 1, written by the last program that had it (tests/golden/v1): models
# translate as they did, runs are resumed. tests/golden/README.md says where the bounds come from.
fixtures=$(cd "$(dirname "$0")/../golden/v1" && pwd)
. "$(dirname "$0")/lib.sh"
cp -r "$fixtures"/* .

# Pictures were cut to squares then, as --fit crop does; the HDF5 run's samples are vectors.
fit() { [[ $1 == */hdf5 ]] || echo --fit crop; }

# translates RUN INPUT BOUND
translates() {
	title "$1: version 1 translates as it did"
	cd "$1"
	does translate run/model.h5 "$2" now.npy --samples 2 $(fit "$PWD") --threads 1 --device cpu
	"$PROBE" arrays now.npy translated.npy "$3" || fail "another translation"
	does info --json run/model.h5
	json out kind=model version=1 step=8 fields layers settings
	does eval run --count 4 --samples 2 --threads 1 --device cpu --json
	cd "$work"
}

# resumes RUN BOUND: steps 5 to 8 again; then the same from a checkpoint of version 2.
resumes() {
	local run=$1 bound=$2
	title "$run: a run of version 1 is resumed"
	cd "$run"
	does info --json run/checkpoints/step-0000004.h5
	json out kind=checkpoint version=1 step=4 fields
	mkdir -p run/samples # which no file keeps in the repository
	mv run/checkpoints/step-0000008.h5 before.h5
	does train --resume --out run
	"$PROBE" near run/checkpoints/step-0000008.h5 before.h5 "$bound" || fail "another state than before"
	does info --json run/checkpoints/step-0000008.h5
	json out kind=checkpoint version=2 step=8 fields
	# What it writes now translates as the same weights of version 1 do.
	if "$PROBE" state run/checkpoints/step-0000008.h5 before.h5 >/dev/null; then
		does translate run/model.h5 "$3" again.npy --samples 2 $(fit "$PWD") --threads 1 --device cpu
		same again.npy now.npy
	fi
	cp before.h5 run/checkpoints/step-0000008.h5
	cd "$work"
}

translates generated 'synth:digits?size=8&limit=4' 1
translates folder a 1
translates hdf5 data.h5 4.8e-7
resumes generated 1.3e-4 'synth:digits?size=8&limit=4'
resumes folder 3.2e-4 a
resumes hdf5 3.8e-5 data.h5

title "other data under the same name, told by the digest of version 1"
cd hdf5
rm run/checkpoints/step-0000008.h5
"$PROBE" vectors data.h5 61 2
exits 2 train --resume --out run
complains 'not the data'
