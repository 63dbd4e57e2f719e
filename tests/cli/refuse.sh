#!/usr/bin/env bash
# Wrong usage: each case one clear line, the right exit code, nothing left behind.
. "$(dirname "$0")/lib.sh"

few=("${images[@]}" --steps 2)
run=(train "${digits[@]}" "${few[@]}" --out run)
mkdir empty texts good cut mixed
for i in 1 2 3 4; do "$PROBE" png good/$i.png 16 16 3 $i; done
echo 'no picture' | tee texts/a.txt >texts/b.png
cut_to good/1.png cut/bad.png 100
cp good/* cut/bad.png mixed

title "no data, or none that can serve"
refuses 2 --source train "${few[@]}" --out run
refuses 2 --source train --target good "${few[@]}" --out run
refuses 2 --target train --source good "${few[@]}" --out run
refuses 2 nowhere train --source nowhere --target good "${few[@]}" --out run
refuses 2 nowhere.h5 train --source good --target nowhere.h5 "${few[@]}" --out run
refuses 2 empty train --source empty --target good "${few[@]}" --out run
rm texts/b.png
refuses 2 '1 text' train --source texts --target good "${few[@]}" --out run
exits 2 train --source cut --target good "${few[@]}" --out run
complains 'none of its images can be decoded'
warns cut/bad.png
"$PROBE" scalar scalar.h5
refuses 2 scalar.h5 train --source scalar.h5 --target good "${few[@]}" --out run
echo garbage >garbage.h5
refuses 2 garbage.h5 train --source garbage.h5 --target good "${few[@]}" --out run
refuses 2 garbage.npy train --source good --target garbage.npy "${few[@]}" --out run
refuses 2 'no such set, expected digits' train --source synth:digitz --target good "${few[@]}" --out run
refuses 2 'limit' train --source 'good?limmit=3' --target good "${few[@]}" --out run
{
	printf '\0\0\010\003\0\0\0\010\0\0\0\020\0\0\0\020'
	head -c 2048 /dev/urandom
} >whole-idx3-ubyte
gzip -c whole-idx3-ubyte >whole-idx3-ubyte.gz
cut_to whole-idx3-ubyte.gz cut-idx3-ubyte.gz 900
refuses 2 cut-idx3-ubyte.gz train --source cut-idx3-ubyte.gz --target good "${few[@]}" --out run
does train --source whole-idx3-ubyte.gz --target good "${few[@]}" --out idx

title "sides that do not fit each other"
"$PROBE" images two.npy 8 16 16 2
"$PROBE" images three.npy 8 16 16 3
"$PROBE" vectors v2.npy 20 2
"$PROBE" vectors v3.npy 20 3
"$PROBE" png odd.png 31 17 3
refuses 2 'channels' train --source two.npy --target three.npy "${few[@]}" --out run
refuses 2 'vectors' train --source v2.npy --target three.npy "${few[@]}" --out run
refuses 2 'values' train --source v2.npy --target v3.npy --preset vector --out run
refuses 2 --image-size train --source odd.png --target good "${few[@]}" --image-size 0 --out run
mkdir sizes && cp good/1.png odd.png sizes
refuses 2 'source of several sizes, target 16)' train --source sizes --target good "${few[@]}" --image-size 0 --out run
refuses 2 --channels train "${digits[@]}" "${few[@]}" --channels 2 --out run
refuses 2 --parts train "${digits[@]}" "${few[@]}" --parts 5 --out run # of a batch of 4
refuses 2 --parts train "${digits[@]}" "${few[@]}" --parts 2000 --out run
refuses 2 --dataroot train --dataroot . "${digits[@]}" "${few[@]}" --out run
refuses 2 trainA train --dataroot good "${few[@]}" --out run

refuses 2 'vector is for vectors, and three.npy holds pictures' train --source three.npy --target three.npy --preset vector --out run
refuses 2 'photo-32 is for pictures, and v2.npy holds vectors' train --source v2.npy --target v2.npy --preset photo-32 --out run
missing run

title "one broken picture among good ones is named and left out"
exits 0 train --source mixed --target good "${few[@]}" --out mix
warns mixed/bad.png
exists mix/model.h5
mkdir torn
cp good/* torn
cut_to good/1.png torn/bad.png 20
exits 0 train --source torn --target good "${few[@]:2}" --out named
[[ $(grep -c torn/bad.png err) == 1 ]] || fail "a broken file is named once, also where the data choose the preset"

title "a folder without pictures: what it holds is named, also where the data choose the preset"
mkdir captions
echo words >captions/a.txt
refuses 2 'captions: holds no images, found 1 text' train --source captions --target good --out captioned

title "values and names"
refuses 2 'batch = -1' "${run[@]}" --batch -1
refuses 2 'batch = 0' "${run[@]}" --batch 0
refuses 2 'batch = many' "${run[@]}" --batch many
refuses 2 'steps = 1e3' "${run[@]}" --steps 1e3
refuses 2 'steps = 99999999999' "${run[@]}" --steps 99999999999
refuses 2 'tau = 0' "${run[@]}" --tau 0
refuses 2 'tau = nan' "${run[@]}" --tau nan
refuses 2 'seed = -1' "${run[@]}" --seed -1
refuses 2 'linear|cosine' "${run[@]}" --anneal linnear
refuses 2 'on or off' "${run[@]}" --flip=maybe
refuses 2 'is for vectors' "${run[@]}" --aim on
refuses 2 'is for vectors' "${run[@]}" --start aimed
refuses 2 'direction: needs --dataroot' "${run[@]}" --direction BtoA
refuses 2 '--batsh: unknown option, did you mean --batch?' "${run[@]}" --batsh 4
refuses 2 'did you mean --batch' bench --batsh 4
refuses 2 '--n_epochs: unknown option, did you mean --steps?' "${run[@]}" --n_epochs 100
refuses 2 'did you mean --crop?' "${run[@]}" --crop_size 64
refuses 2 'one argument too many' "${run[@]}" good
refuses 2 '--json: takes no value' bench --json=1
refuses 2 '--seconds: ' bench --seconds 0
refuses 2 --batch "${run[@]}" --batch
refuses 2 'needs a value' train --source --target good
refuses 2 'nowhere: no such file or folder, nor is there never' train --source nowhere --target never --out no
refuses 2 'nowhere: no such file or folder, nor is there never' train --source nowhere --target 'never?limit=3' "${few[@]}" --out no
refuses 2 'never: no such file or folder' train --source good --target never --out no
refuses 2 'nowhere: no such file or folder' train --source nowhere --target good "${few[@]}" --out no
refuses 2 quickstart "${run[@]}" --preset tiny
refuses 2 stray "${run[@]}" stray
refuses 2 'is needed' train "${digits[@]}" "${few[@]}"
refuses 2 'tpu' "${run[@]}" --device tpu
OTPLAN_CUDA_PLUGIN=/nonexistent/plugin.so refuses 1 '/nonexistent/plugin.so' bench --device cuda
OTPLAN_CUDA_PLUGIN=$OTPLAN refuses 1 'cannot be loaded' bench --device cuda

title "settings that contradict each other"
refuses 2 '15x15' "${run[@]}" --image-size 15
refuses 2 --multipliers "${run[@]}" --multipliers 1,1,1,1,1,1
refuses 2 --multipliers "${run[@]}" --multipliers 1,x
refuses 2 --anneal "${run[@]}" --anneal geometric --sigma-end 0
refuses 2 --sigma-end "${run[@]}" --sigma-start 0.1 --sigma-end 0.2
refuses 2 --smoothing "${run[@]}" --smoothing vp --sigma-start 2
refuses 2 --cost-from "${run[@]}" --cost-from clean
refuses 2 'g = cubic' "${run[@]}" --g cubic
refuses 2 'sigma-end = -1' "${run[@]}" --sigma-auto -1 --sigma-end auto

title "configuration files"
printf '# fine\nbatch = 4\nstepz = 4\n' >key.ini
refuses 2 'key.ini:3: unknown option "stepz", did you mean "steps"' "${run[@]}" --config key.ini
printf 'batch = 0\n' >value.ini
refuses 2 'value.ini:1' "${run[@]}" --config value.ini
printf 'batch 4\n' >form.ini
refuses 2 'form.ini:1' "${run[@]}" --config form.ini
refuses 2 nowhere.ini "${run[@]}" --config nowhere.ini
refuses 2 good "${run[@]}" --config good

title "places that cannot be written"
echo mine >file
refuses 2 'file: folder cannot be made' train "${digits[@]}" "${few[@]}" --out file
refuses 2 /dev/null/x train "${digits[@]}" "${few[@]}" --out /dev/null/x
refuses 1 /proc/x train "${digits[@]}" "${few[@]}" --out /proc/x
[[ $(cat file) == mine ]] || fail "the file was touched"
missing run

title "folders that hold a run, and runs that are none"
does "${run[@]}"
cp run/model.h5 kept.h5
refuses 2 'holds a run already' "${run[@]}"
refuses 2 'holds a run already' "${run[@]}" --dry-run
same run/model.h5 kept.h5
refuses 2 'no run to resume' train --resume --out nowhere
refuses 2 'no run to resume' train --resume --out good
refuses 2 --out train --resume

title "translate, export, eval"
does translate run/checkpoints/step-0000002.h5 good by-checkpoint
refuses 2 good/1.png translate good/1.png good o
refuses 2 texts/a.txt translate texts/a.txt good o
refuses 2 'good: has no model.h5 in it' translate good good o
refuses 2 nowhere translate nowhere good o
refuses 2 nowhere translate run nowhere o
refuses 2 texts/a.txt translate run texts/a.txt o
refuses 2 vectors translate run v2.npy o
refuses 2 limit translate run synth:digits o
refuses 2 o.png translate run good o.png
refuses 2 o.bmp translate run good/1.png o.bmp
refuses 2 'input itself' translate run good good
refuses 2 'input itself' translate run good/1.png good/1.png
refuses 2 'one argument too many' translate run good o more
refuses 2 usage translate run good
refuses 2 --samples translate run good o --samples 0
refuses 2 --samples translate run good o --samples
refuses 2 'did you mean --samples' translate run good o --samplez 2
refuses 2 --seed translate run good o --seed -1
refuses 2 f16 translate run good o --precision f16
refuses 2 "is 'bmp', expected png" translate nowhere good no --format bmp
refuses 2 'written as PNG' translate nowhere good/1.png no.bmp
refuses 2 "is 'squeeze', expected resize" translate nowhere good no --fit squeeze
refuses 2 /dev/null/x translate run good/1.png /dev/null/x/y.png
refuses 1 /proc/x translate run 'good?grey' /proc/x
refuses 1 /proc/x.npy translate run 'good?grey' /proc/x.npy
missing o o.png o.jpg
refuses 2 --for export run good x
refuses 2 kid export run good x --for kid
refuses 2 nowhere export run nowhere x --for fid
missing x
exits 0 export run good x --for fid
rm x/.otplan-outputs.jsonl
refuses 2 'is none of the outputs made here' export run good x --for fid
does train "${lines[@]}" "${points[@]}" --out points
refuses 2 vectors export points v2.npy y --for fid
refuses 2 '.npy' translate points v2.npy y
refuses 2 'dimension 3, 2 expected' translate points v3.npy y.npy
refuses 2 images translate points good y.npy
refuses 2 nowhere eval nowhere
refuses 2 vectors eval run --source v2.npy
missing y y.npy

title "verify"
refuses 2 'not a problem of verify' verify nowhere
refuses 2 'did you mean one-to-many' verify one-to-man
refuses 2 --seeds verify gaussian-2 --seeds 0
refuses 2 --seeds verify gaussian-2 --seeds 3x
refuses 2 'needs a value' verify gaussian-2 --seeds
refuses 2 'needs a value' verify gaussian-2 --steps
refuses 2 'unknown' verify gaussian-2 --nonsense
refuses 2 'did you mean' verify gaussian-2 --formulatio otm
refuses 2 'a file of that name' verify gaussian-2 --out garbage.h5/pictures

title "info, bench, help, and no command at all"
refuses 2 nowhere info nowhere
refuses 2 texts/a.txt info texts/a.txt
refuses 2 garbage.h5 info garbage.h5
refuses 2 empty info empty
refuses 2 usage info
refuses 2 batch bench --batch 0
refuses 2 nonsense bench --nonsense
refuses 2 'did you mean train' trian
refuses 2 nope help nope
refuses 2 'extra: is one argument too many' help train extra
exits 2

title "results that find no reader"
code=0
"$OTPLAN" help train >/dev/full 2>err || code=$?
[[ $code == 1 ]] || fail "a full disk: exit code $code"
complains stdout
set +o pipefail
"$OTPLAN" help train 2>err | true
{ "$OTPLAN" train "${digits[@]}" "${images[@]}" --log-every 1 --out unread 2>&1 | head -n 1; } >out
set -o pipefail
sleep 0.2
for ((wait = 0; wait < 100; wait++)); do
	[[ -e unread/report.html ]] && break
	sleep 0.1
done
exists unread/model.h5 unread/report.html
