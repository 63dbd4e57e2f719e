#!/usr/bin/env bash
# A user's own points: train on them with sigma-end left to the data, translate, evaluate; what is wrong with files
# and sets.
. "$(dirname "$0")/lib.sh"

"$PROBE" vectors a.npy 90 3
"$PROBE" vectors b.h5 80 3
plain=(--source a.npy --target b.h5 "${points[@]}")
own=("${plain[@]}" --sigma-start 1) # whoever says where it starts wants smoothing
sigma_end() { sed -n 's/^sigma-end = //p' "$1/config.ini"; }

title "sigma-end auto: said, stored, read back"
does train "${own[@]}" --sigma-end auto --out run
warns '^sigma ends at 0\.[0-9]* (auto): 90 different samples, on a set of dimension '
[[ $(sigma_end run) == 0.* ]] || fail "config.ini"
! grep -q auto run/config.ini || fail "config.ini leaves something open"
json run/metrics.jsonl sigma_end="$(sigma_end run)"
tail -n 1 run/metrics.jsonl >last
json last step=6 sigma="$(sigma_end run)"
grep -q 'sigma ends at' run/report.html || fail "report.html does not say where sigma ends"
grep -q 'sigma ends at' run/log.txt || fail "log.txt does not say where sigma ends"
does info run --json
json out sigma_end="$(sigma_end run)" sigma_end_by=auto
does info run/model.h5 --json
json out sigma="$(sigma_end run)"
does train --config run/config.ini --out again
"$PROBE" state {run,again}/checkpoints/step-0000006.h5 || fail "config.ini read back is another run"
does info again --json
json out sigma_end_by=hand # there it was a number
does train --resume --out run --sigma-end auto
does train --resume --out run --steps 7
does info run --json
json out last_step=7 sigma_end_by=auto
refuses 2 --sigma-end train --resume --out run --sigma-end 0.1

title "sigma-end is the data's: another seed has the same, half of the samples another"
does train "${own[@]}" --sigma-end auto --seed 5 --out seed
[[ $(sigma_end seed) == "$(sigma_end run)" ]] || fail "the seed changes sigma-end"
does train --source 'a.npy?part=1/2' --target b.h5 "${points[@]}" --sigma-start 1 --sigma-end auto --out half
[[ $(sigma_end half) != "$(sigma_end run)" ]] || fail "the number of samples does not change sigma-end"
does train "${own[@]}" --sigma-end auto --dry-run
says '^annealing   sigma ends at '

title "a source with a density: a map without smoothing, said and kept, and every choice can be overridden"
setting() { sed -n "s/^$2 = //p" "$1/config.ini"; }
does train --source a.npy --target b.h5 --preset vector --batch 8 --steps 2 --out map_run
warns '^the source has a density, so the best plan is a map: no smoothing.*width 256'
for line in sigma-end=0 anneal=none condition-noise=off width=256 k-transport=3 lr_g=0.001; do
	[[ $(setting map_run "${line%=*}") == "${line#*=}" ]] || fail "$line is not in config.ini"
done
does train --resume --out map_run --steps 3
! grep -q 'has a density' err || fail "a resumed run decides again"
does train "${plain[@]}" --sigma-end auto --out map_auto
[[ $(setting map_auto sigma-end) == 0 && $(setting map_auto width) == 8 ]] || fail "auto, or a width that was said"
does train "${plain[@]}" --sigma-end 0.2 --out smoothed
[[ $(setting smoothed sigma-end) == 0.2 && $(setting smoothed condition-noise) == on ]] || fail "sigma-end was said"
echo 'k-transport = 2' >k.ini
does train --config k.ini --source a.npy --target b.h5 --width 16 --batch 8 --steps 2 --out mixed
[[ $(setting mixed k-transport) == 2 && $(setting mixed width) == 16 && $(setting mixed potential-width) == 256 ]] ||
	fail "what a file or the command line says comes first"
does train "${lines[@]}" --batch 8 --steps 2 --out thin
warns '^the source has no density'
[[ $(setting thin sigma-end) == 0.1 && $(setting thin condition-noise) == on ]] || fail "a thin set is smoothed"

title "points of any scale: the networks see them over their spread, less their centres, and the settings follow"
"$PROBE" vectors far.npy 200 3 100 40
does train --source a.npy --target far.npy --preset vector --batch 8 --steps 2 --width 8 --out far
warns 'values spread by .* about centres up to .* from 0'
[[ $(setting far scale) != 1 && $(setting far tau) != 1 ]] || fail "the scale is not in config.ini"
does train --resume --out far --steps 3
does info far/model.h5
says "architecture/scale  *$(setting far scale | cut -c1-4)"
does translate far a.npy moved.npy
does train --source a.npy --target far.npy --preset vector --batch 8 --steps 2 --width 8 --scale 1 --tau 0.5 --out near
[[ $(setting near scale) == 1 && $(setting near tau) == 0.5 ]] || fail "what the command line says comes first"
[[ $(setting map_run scale) == 1 ]] || fail "values near 1 about 0 stay as they are"

title "bounds of sigma-end"
does train "${own[@]}" --sigma-end auto --sigma-start 0.001 --out low
[[ $(sigma_end low) == 0.001 ]] || fail "the end is above the start"
warns 'no higher than it starts'
does train "${own[@]}" --sigma-end auto --sigma-start 0.001 --anneal none --out flat
[[ $(sigma_end flat) == "$(sigma_end run)" ]] || fail "without annealing there is no start"
does train "${own[@]}" --sigma-end auto --formulation otm --out otm
[[ $(sigma_end otm) == 0 ]] || fail "otm has no sigma"
refuses 2 --sigma-start train "${own[@]}" --sigma-end auto --sigma-start 0 --anneal linear --out no
refuses 2 'or auto' train "${own[@]}" --sigma-end automatic --out no
refuses 2 'or auto' train "${own[@]}" --sigma-end -1 --out no

title "auto is for fixed sets of some samples; images are such"
refuses 2 'fixed set' train "${lines[@]}" "${points[@]}" --sigma-end auto --out no
exits 2 verify one-to-many --sigma-end auto
complains 'limit=N'
refuses 2 'at least 20' train --source 'a.npy?limit=10' --target b.h5 "${points[@]}" --sigma-end auto --out no
does train --source 'synth:one-to-many-source?limit=50' --target synth:one-to-many-target "${points[@]}" \
	--sigma-end auto --out limited
does train --source 'synth:digits?limit=40' --target synth:digits-isoluminant "${images[@]}" --sigma-end auto --out pictures
missing no

title "exact distances of a user's own sets"
does eval run --source a.npy --target 'a.npy?limit=40' --json
json out n=20 optimal_cost=0
does translate run a.npy out.npy --samples 2
says "sigma $(sigma_end run):"
does translate run 'b.h5?limit=7' out.h5
does info out.h5 --json
json out count=7 channels=3 samples=vectors

title "the sweep's script"
sweep=$(dirname "$0")/../../scripts/sweep_sigma
"$sweep" --seeds 2 --steps 3 --sizes 40 --sigmas '0.3 auto' one-to-many >out 2>err || fail "sweep_sigma fails"
grep -qE '^ +40 +0\.3 +[0-9.]+ +[0-9.]+$' out || fail "no row of the sigma"
grep -qE '^ +40 +0\.[0-9]+\* +[0-9.]+ +[0-9.]+$' out || fail "no row of auto"
if "$sweep" parallel >out 2>err; then fail "sweep_sigma takes a problem it has no figure for"; fi
if "$sweep" --steps 3 --sizes 5 --sigmas auto one-to-many >out 2>err; then fail "sweep_sigma hides an error"; fi
warns 'at least 20'

title "what is allowed but seldom meant"
does train --source a.npy --target a.npy "${points[@]}" --out identity
warns 'the same set'
does train --source 'a.npy?limit=1' --target b.h5 "${points[@]}" --out spread
warns 'points are all the same'

title "against exact images: a map's own outputs are right, others are not"
does train "${own[@]}" --sigma-start 0 --sigma-end 0 --anneal none --condition-noise off --out map
does translate map a.npy images.npy
does eval map --source a.npy --truth images.npy --json
json out n=90 l2_uvp=0 cost_error=0 cosine=1
does eval map --source a.npy --target b.h5 --truth images.npy --json
json out l2_uvp=0
grep -q '"target_distance"' out || fail "no target distance beside the truth"
does translate run a.npy others.npy
does eval map --source a.npy --truth others.npy
grep -qE "^L2-UVP, per cent of the targets' variance +[0-9.]*[1-9]" out || fail "other images have no error"
exits 2 eval map --source a.npy --truth 'images.npy?limit=10'
complains 'the image of each'
exits 2 eval map --source a.npy --truth none.npy

title "eval --features"
"$PROBE" vectors fa.npy 60 4
"$PROBE" vectors fb.npy 1500 4
does eval --features fa.npy fa.npy --json
json out n=60 dimension=4 frechet kid
[[ $(sed 's/.*"frechet":\([^,]*\),.*/\1/' out | awk '{print ($1 < 1e-9)}') == 1 ]] || fail "a set has a distance from itself: $(cat out)"
does eval --features fa.npy fb.npy
says '^Frechet distance'
says '^KID'
does eval --features fb.npy fa.npy --json
json out n=60 frechet kid kid_spread
"$PROBE" vectors fc.npy 60 5
refuses 2 'features of 5 values' eval --features fa.npy fc.npy
refuses 2 usage eval --features fa.npy
refuses 2 'no such file' eval --features fa.npy nowhere.npy
