#!/usr/bin/env bash
# train: what a run leaves, every kind of data, and the ways to say the same.
. "$(dirname "$0")/lib.sh"

title "a run leaves what it promises"
does train "${digits[@]}" "${images[@]}" --sample-every 3 --snapshot-every 2 --log-every 2 --out run
files run config.ini summary.json metrics.jsonl log.txt model.h5 model-best.h5 report.html curves.svg samples/step-000000{3,6}.png \
	samples/targets.png \
	checkpoints/step-000000{2,4,6}.h5
json run/metrics.jsonl step verdicts time_s sigma loss_potential loss_transport cost r1 lr_g lr_d potential_gap \
	potential_slope measured_at transport_cost target_distance target_floor patch_distance patch_floor source_distance to_identity identity_distance source_patch_distance diversity \
	output_spread noise_spread noise_needed images_per_s
[[ $(grep -o '"measured_at":[0-9]*' run/metrics.jsonl | tr '\n' ' ') == \
	'"measured_at":1 "measured_at":1 "measured_at":1 "measured_at":6 ' ]] || fail "when was measured"
! grep -q 'target_distance":null' run/metrics.jsonl || fail "every logged step carries the figures"
[[ $(grep -o '"step":[0-9]*' run/metrics.jsonl | tr '\n' ' ') == '"step":1 "step":2 "step":4 "step":6 ' ]] ||
	fail "steps in metrics.jsonl"
says 'what was learned'
says 'run/model.h5'
warns 'step 6/6'
grep -q '</html>' run/report.html || fail "report.html is cut short"
grep -q 'step 6/6' run/log.txt || fail "log.txt lacks the last step"

title "the page has the verdicts"
grep -q '<h2>Verdict</h2>' run/report.html || fail "report.html has no verdict"
grep -q 'Too few steps to judge: measured 2 of the 3 times' run/report.html || fail "two steps were measured"

title "verdicts appear on screen, in the metrics, in info and on the page"
does train "${lines[@]}" "${points[@]}" --batch 256 --tau 1000 --steps 400 --log-every 10 --out still
warns '^verdict: identity collapse at step [0-9]*: .*; try .*--tau 1e+03 -> 100'
warns '^step 400/400 .* identity collapse '
grep -q '"verdicts":\["identity collapse"\]' still/metrics.jsonl || fail "the metrics hold no verdict"
grep -q '<b>identity collapse</b>, step [0-9]* to the end' still/report.html || fail "the page shows no verdict"
does info still
says '^verdicts  *identity collapse$'

title "measuring does not touch the training"
does train "${digits[@]}" "${images[@]}" --sample-every 3 --snapshot-every 2 --log-every 1 --out talkative
"$PROBE" state {run,talkative}/checkpoints/step-0000006.h5 || fail "states differ"

title "a kept number of checkpoints"
does train "${digits[@]}" "${images[@]}" --snapshot-every 1 --keep 2 --out kept
files kept/checkpoints step-000000{5,6}.h5

title "equal runs are equal bit for bit; another seed is another run"
does train "${digits[@]}" "${images[@]}" --sample-every 3 --snapshot-every 2 --log-every 2 --out twin
same run/model.h5 twin/model.h5
same run/samples/step-0000006.png twin/samples/step-0000006.png
"$PROBE" state {run,twin}/checkpoints/step-0000006.h5 || fail "states differ"
does train "${digits[@]}" "${images[@]}" --seed 2 --out other
differ run/model.h5 other/model.h5

title "the best model: the measured step that is nearest to held-out targets"
same {run,twin}/model-best.h5
does train "${digits[@]}" "${images[@]}" --steps 900 --sample-every 900 --lr-g 3e-3 --lr-d 3e-3 --out long
cp out said
measured='"measured_at":\([0-9]*\),.*"patch_distance":\([0-9.e-]*\),.*'
best=$(sed -n "s/^{\"step\":\([0-9]*\),.*$measured/\1 \2 \3/p" long/metrics.jsonl | awk '$1 == $2 && (!n++ || $3 < least) {least = $3; at = $1} END {print at}')
does info long/model-best.h5
says "^step  *$best$"
[[ $best == 900 ]] || grep -q "^best  *long/model-best.h5: step $best," said || fail "the end does not name it"
does translate long/model-best.h5 'synth:digits?limit=4' best.npy
does pack 'synth:digits?limit=20' handful.h5
does train --source handful.h5 --target handful.h5 "${images[@]}" --out none
missing none/model-best.h5

title "config.ini read back is the same configuration"
does train --config run/config.ini --out again
same run/model.h5 again/model.h5
same <(grep -v '^\(out\|config\) =' run/config.ini) <(grep -v '^\(out\|config\) =' again/config.ini)
printf '# a few\nbatch = 4\n steps=3 ; fewer\nsource = synth:digits\ntarget = "synth:digits-isoluminant"\n' >few.ini
does train "${images[@]:0:10}" --threads 2 --config few.ini --steps 4 --out few
grep -q '^steps = 4$' few/config.ini || fail "the command line ranks above --config"
grep -q '^batch = 4$' few/config.ini || fail "--config ranks above the preset"

title "names that others use"
does train "${digits[@]}" "${images[@]}" --batch_size 4 --image_size 16 --lr-g=1e-3 --max_steps 6 --sample-every=3 \
	--snapshot-every 2 --log-every 2 --out alias
same run/model.h5 alias/model.h5

title "vectors"
does train "${lines[@]}" "${points[@]}" --out points
files points config.ini summary.json metrics.jsonl log.txt model.h5 model-best.h5 report.html curves.svg samples/step-0000006.png \
	checkpoints/step-0000006.h5
"$PROBE" vectors three.npy 40 3
"$PROBE" vectors three.h5 40 3
does train --source three.npy --target three.h5 "${points[@]}" --out packed

title "data without end or with few samples; the preset is the data's"
does train --source synth:one-to-many-source --target synth:one-to-many-target --width 8 --steps 2 --out chosen
grep -q '^preset = vector$' chosen/config.ini || fail "vectors choose the vector preset"
does train "${digits[@]}" --width 8 --steps 2 --out chosen2
grep -q '^preset = quickstart$' chosen2/config.ini || fail "16 x 16 chooses the quickstart preset"

# preset_of SOURCE TARGET PRESET SIZE CHANNELS: without a word, on a CPU.
preset_of() {
	rm -rf chosen3
	does train --source "$1" --target "$2" --device cpu --width 8 --potential-width 8 --batch 2 --threads 2 --steps 1 --out chosen3
	grep -q "^preset = $3$" chosen3/config.ini || fail "$1 and $2 choose $(grep ^preset chosen3/config.ini), not $3"
	does info chosen3/model.h5 --json
	json out height="$4" channels="$5"
}
"$PROBE" images mnist.npy 6 28 28 1
"$PROBE" images small.npy 6 32 32 3
"$PROBE" images large.npy 6 128 128 3
mkdir -p mixed
for i in 0 1 2 3; do "$PROBE" png mixed/$i.png $((200 + 60 * i)) $((150 + 10 * i)) 3 $i; done
preset_of mnist.npy mnist.npy photo-32 32 1
preset_of mnist.npy small.npy photo-32 32 3
preset_of large.npy large.npy photo-64 64 3
preset_of mixed mixed photo-64 64 3
preset_of mixed mnist.npy photo-32 32 3 # no more than the smaller side has
does train --source mixed --target mixed --device cpu --width 8 --potential-width 8 --batch 2 --threads 2 --steps 1 --out chosen4
warns '^preset photo-64, for data and device: 64 x 64 pictures on a CPU'
warns '^pictures of [0-9]*x[0-9]* and less are trained as 64x64 pixels'
exits 0 train --source small.npy --target small.npy --preset 256 --device cpu --dry-run --width 8 --potential-width 8 --batch 1 \
	--image-size 32 --multipliers 1,1 --potential-multipliers 1,2 --attention none --noise-scale 8
warns '^preset 256 is made for a GPU and takes days or weeks on a CPU; --preset photo-32 is made for a CPU$'

title "folders; grey towards colour; odd sizes scaled"
mkdir -p root/trainA/below root/trainB
for i in 0 1 2 3 4 5; do
	"$PROBE" png root/trainA/$i.png 16 16 1 $i
	"$PROBE" png root/trainB/$i.png 16 16 3 $i
done
"$PROBE" png root/trainA/below/wide.png 37 21 4 7
"$PROBE" png root/trainB/tall.png 19 33 2 8
does train --dataroot root --image-size 16 "${images[@]}" --out forth
grep -qx "source = $PWD/root/trainA" forth/config.ini || fail "trainA is the source"
does train --dataroot root --direction BtoA --image-size 16 "${images[@]}" --out back
grep -qx "source = $PWD/root/trainB" back/config.ini || fail "BtoA turns the sides around"
does train --config forth/config.ini --out forth2
same forth/model.h5 forth2/model.h5
does train --source root/trainA --target root/trainB --channels 1 --image-size 16 "${images[@]}" --out grey
does info grey/model.h5 --json
json out channels=1 height=16
does train --source root/trainA --target root/trainB --image-size 8 --flip --workers 3 "${images[@]}" --out small
does info small --json

title "data on the device or streamed: the same run"
held=(--source root/trainA --target root/trainB --image-size 16 --flip "${images[@]}")
for threads in 1 2; do
	does train "${held[@]}" --threads $threads --data-on-device on --out held$threads
	warns 'source on the device, target on the device'
	does train "${held[@]}" --threads $threads --out streamed$threads
	"$PROBE" state {held,streamed}$threads/checkpoints/step-0000006.h5 || fail "states differ"
done
does train "${held[@]}" --data-on-device on --dry-run
says 'source on the device, target on the device'
does train "${held[@]}" --dry-run
says 'source streamed, target streamed' # a CPU has no memory of its own
does train --source root/trainA --target 'root/trainB?colorize=hsv' --image-size 16 "${images[@]}" \
	--data-on-device on --dry-run
says 'source on the device, target streamed'

title "modifiers"
"$PROBE" images stack.npz 12 16 16 1
does train --source 'stack.npz?part=1/2&brightness=0.5' --target 'stack.npz:arr_0?part=2/2&colorize=isoluminant' \
	"${images[@]}" --out coloured

title "--dry-run and --plan write nothing"
for option in --dry-run --plan; do
	does train "${digits[@]}" "${images[@]}" $option --out nothing
	says '^generator '
	does train "${digits[@]}" "${images[@]}" $option
done
missing nothing

title "every formulation takes steps"
does train "${digits[@]}" "${images[@]}" --formulation otm --out otm
does train "${digits[@]}" "${images[@]}" --formulation uotm-kl --out kl
does train "${digits[@]}" "${images[@]}" --formulation uotm --g kl --out uotm
same kl/model.h5 uotm/model.h5
does train "${digits[@]}" "${images[@]}" --smoothing vp --latent 4 --condition-noise off --anneal cosine --out vp
does train "${digits[@]}" "${images[@]}" --sigma-start 0.3 --anneal constant --cost-from clean --condition-noise=off \
	--out clean
does train "${lines[@]}" "${points[@]}" --anneal linear --sigma-end 0 --r1-every 4 --k-potential 2 --out zero
does train "${digits[@]}" "${images[@]}" --r1 0 --batch 1 --out one

title "one sample is trained on, and not measured"
mkdir lone
"$PROBE" png lone/a.png 16 16 3 5
does train --source lone --target lone "${images[@]}" --out single
says '^model '
warns 'is not measured'
