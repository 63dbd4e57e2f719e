#!/usr/bin/env bash
# What tells: eval, verify, info, bench, help, --version.
. "$(dirname "$0")/lib.sh"

does train "${digits[@]}" "${images[@]}" --out run
does train "${lines[@]}" "${points[@]}" --out points

title "eval"
keys=(n transport_cost target_distance floor target_floor source_distance identity_distance diversity)
does eval run --count 64 --samples 16 --json
json out "${keys[@]}" patch_distance patch_floor n=64 grey_rmse hue_resultant hue_agreement chroma shape_rmse shape_random
cp out first
does eval run/model.h5 --count 64 --samples 16 --json --threads 3
same first out
does eval run --count 64 --samples 16 --json --seed 2
differ first out
does eval run --count 64 --samples 16 --json --source synth:digits --target synth:digits-hsv
json out "${keys[@]}" grey_rmse hue_resultant
! grep -q hue_agreement out || fail "only isoluminant targets have a closed form"
does eval points --count 64 --json
json out "${keys[@]}"
! grep -q "grey\|patch" out || fail "vectors have no grey and no patches"
"$PROBE" images isoluminant.npy 16 16 16 3
does eval run --count 8 --samples 4 --json --source synth:digits --target isoluminant.npy
json out n=8 grey_rmse
! grep -q hue_agreement out || fail "a file's name makes no colouring law"
does eval run --count 16 --samples 4
says 'transport cost'
"$PROBE" images few.npy 3 16 16 3
does eval run --source few.npy --target few.npy --json
json out n=1 # two fresh sets of targets are needed

title "verify"
keys=(truth_cost cost cost_error target_error target_floor seconds pass)
does verify gaussian-2 --steps 200
says 'pass$'
! grep -q MISSED out || fail "a bar is missed, and the exit code is 0"
exits 1 verify gaussian-2 --steps 1
says MISSED
says FAIL
warns '1 of 1 run missed a bar'
exits 1 verify gaussian-2 --steps 1 --json
json out problem=gaussian-2 dimension=2 formulation=otp seed=1 steps=1 target_error_by=assignment l2_uvp "${keys[@]}"
exits 1 verify gaussian-16 --steps 1 --json
json out problem=gaussian-16 target_error_by=sliced "${keys[@]}"
exits 1 verify isoluminant --steps 1 --json
json out problem=isoluminant target_error_by=sliced hue_agreement hue_resultant chroma shape_rmse shape_random "${keys[@]}"
exits 1 verify one-to-many --steps 1 --aim --json
json out side_balance ks target_error_by=assignment "${keys[@]}"

title "info"
does info run --json
json out kind=run sigma_end_by=hand source=synth:digits steps=6 checkpoints=1 last_checkpoint=6 last_step=6 time_s \
	transport_cost target_distance target_floor to_identity output_spread noise_spread verdicts=none
does info run/model.h5 --json
json out kind=model step=6 samples=images height=16 width=16 channels=3 sigma parameters layers settings source_digest
does info points/model.h5 --json
json out kind=model samples=vectors channels=2
does info run/checkpoints/step-0000006.h5 --json
json out kind=checkpoint step=6 time_s settings
does info few.npy --json
json out kind='data set' format=npy samples=images count=3 height=16 width=16 channels=3 digest skipped=0
does info 'few.npy?part=2/3' --json
json out count=1
does info synth:moons --json
json out format=synth samples=vectors count=0 channels=2
mkdir pictures
for i in 0 1 2; do "$PROBE" png pictures/$i.png 16 $((16 + i)) 3; done
does info pictures --json
json out format=folder count=3
does info pictures/0.png --json
json out format=picture count=1 height=16
does info run
says '^last step that was trained  *6$'
says '^patch distance, the targets. variance = 1  *[0-9]'
! grep -E '^ *[a-z0-9]+_[a-z_]* ' out || fail "keys instead of words"
cp -r run cut
head -n 1 run/metrics.jsonl >cut/metrics.jsonl # as where records are rarer than checkpoints
does info cut --json
json out last_step=6 logged_step=1 last_checkpoint=6
for path in run run/model.h5 run/checkpoints/step-0000006.h5 few.npy; do
	does info $path
	says '^kind '
done

title "after -- all are names"
cp few.npy ./--odd.npy
cp pictures/0.png ./-x.png
refuses 2 'unknown option' info --odd.npy
does info --json -- --odd.npy
json out count=3
does info --json -x.png
does info --json -- -x.png
json out format=picture
does translate --seed 2 run -- -x.png ./-y.png
exists ./-y.png
refuses 2 'usage' info --
refuses 2 '--json: is one argument too many' info -- few.npy --json
refuses 2 '--help: no such file' info -- --help

title "bench"
does bench "${images[@]}" --precision f32 --seconds 0.2 --json
json out device=cpu precision=f32 batch=4 image=16 threads=2 step_ms images_per_s transport_ms potential_ms \
	potential_r1_ms peak_bytes spread
does bench "${points[@]}" --seconds 0.2 --peak-gbs 10 --peak-tflops 0.1
says images/s
does bench "${images[@]}" --calls
says '^potential + R1 .*[0-9]'
does bench --preset 64 --batch 64 --precision bf16 --calls --json
json out preset=64 batch=64 transport potential potential_r1
for key in calls small_calls gb weights tflop least_calls least_gb; do
	[[ $(grep -o "\"$key\":" out | wc -l) -ge 3 ]] || fail "no $key of each kind of step"
done

title "help"
does --version
says '^otplan [0-9]'
does --version --verbose
for word in '^otplan [0-9]' '^commit ' '^backend cpu  *oneDNN [0-9]' '^backend cuda ' '^HDF5  *[0-9]' '^zlib  *[0-9]'; do
	says "$word"
done
exits 2 --version --nonsense
does --help
cp out overview
does -h
same out overview
does help
same out overview
for command in train translate export eval pack doctor info report bench help; do
	grep -q "^  $command " overview || fail "$command is not in the overview"
	does help $command
	says "^otplan $command"
	cp out text
	does $command --help
	same text out
done
does help train
for option in source target dataroot task data direction image-size channels seed steps batch resume device precision tau r1 \
	sigma-start sigma-end anneal k-transport k-potential ema formulation latent snapshot-every sample-every \
	workers dry-run plan lr_g lr_d config preset out; do
	says "^  --$option"
done
(($(grep -c '^  --' out) <= 38)) || fail "more options than a user wants to read"
! grep -q '^  --beta1' out || fail "an expert's option in the short help"
says '^  otplan train --source .*--out'
cp out few
does help train --all
for option in beta1 anneal-fraction smoothing condition-noise parts start; do
	says "^  --$option"
done
grep -v '^`otplan help train --all`' few | while read -r line; do
	grep -qF -- "$line" out || fail "help train --all lacks: $line"
done
cp out all
does train --help --all
same all out
does verify --help
says '^  --seeds'
says '^  one-to-many$'
does bench --help
says '^  --peak-gbs'
does train --source a --help
exits 2
says 'translate'
