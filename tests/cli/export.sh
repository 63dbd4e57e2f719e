#!/usr/bin/env bash
# export: what FID tools are handed.
. "$(dirname "$0")/lib.sh"

pixels() { "$OTPLAN" info "$1" --json | grep -o '"\(count\|height\|width\|channels\)":[0-9]*' | tr '\n' ' '; }
# key SIDE NAME: a number of one side in the manifest.
count_of() { sed -n "/\"$1\"/,/}/s/.*\"count\":[^0-9]*\([0-9]*\).*/\1/p" "$2/manifest.json"; }

does train "${digits[@]}" "${images[@]}" --out colour
mkdir inputs targets
for i in 0 1 2 3 4; do "$PROBE" png inputs/$i.png 16 16 1 $i; done
for i in 0 1 2; do "$PROBE" png targets/$i.png 20 30 4 $i; done

title "flat folders, arrays and a manifest"
exits 0 export colour inputs one --for fid --target targets
warns 'warning: 3 images'
says 'exported 5 generated and 3 reference'
files one manifest.json generated.npz reference.npz generated/00000{0,1,2,3,4}.png reference/00000{0,1,2}.png
size 16 16 3 one/generated/*.png one/reference/*.png
[[ $(pixels one/generated.npz:arr_0) == '"count":5 "height":16 "width":16 "channels":3 ' ]] || fail "$(pixels one/generated.npz)"
[[ $(pixels one/reference.npz:arr_0) == '"count":3 "height":16 "width":16 "channels":3 ' ]] || fail "$(pixels one/reference.npz)"
tr -d '\n' <one/manifest.json >manifest.txt
json manifest.txt program model step=6 sigma seed=1 samples_per_input=1 height=16 width=16 rounding generated reference
[[ $(count_of generated one) == 5 && $(count_of reference one) == 3 ]] || fail "counts in the manifest"

title "the array holds the pictures"
does translate colour one/generated.npz:arr_0 twice.npy
does info one/generated --json
cp out folder.txt
json folder.txt count=5 height=16 width=16

title "samples and counts; the same seed is the same export"
exits 0 export colour inputs more --for fid --target targets --samples 3 --count 2
says 'exported 6 generated and 2 reference'
exits 0 export colour inputs same --for fid --target targets
same one/generated.npz same/generated.npz
diff -r one/generated same/generated
exits 0 export colour inputs other --for fid --target targets --seed 2
same one/reference.npz other/reference.npz
differ one/manifest.json other/manifest.json

title "what translate writes is what export writes"
does translate colour inputs translated
for i in 0 1 2 3 4; do same translated/$i.png one/generated/00000$i.png; done

title "grey models give three channels too; the target is the model's own by default"
does train --source synth:digits --target synth:digits "${images[@]}" --out grey
exits 0 export grey synth:digits grey-out --for fid --count 4
size 16 16 3 grey-out/generated/*.png grey-out/reference/*.png
files grey-out/generated 00000{0,1,2,3}.png
files grey-out/reference 00000{0,1,2,3}.png

title "the model itself, for other programs"
does export colour model.onnx --for onnx
says '^exported step 6, [0-9]* weights, sigma 0.1: model.onnx$'
grep -aq 'ConvTranspose' model.onnx || fail "no graph"
cp model.onnx first.onnx
does export colour/model.h5 model.onnx --for onnx # its own output
same first.onnx model.onnx
last=$(find colour/checkpoints -name 'step-*.h5' | sort | tail -n 1)
does export "$last" model.onnx --for onnx # whose average model.h5 is
same first.onnx model.onnx
does export colour weights.safetensors --for safetensors
head -c 400 weights.safetensors | grep -aq '"__metadata__":{"program":"otplan' || fail "no header"
echo mine >kept.onnx
refuses 2 'overwrite' export colour kept.onnx --for onnx
[[ $(<kept.onnx) == mine ]] || fail "another's file was replaced"
does export colour kept.onnx --for onnx --overwrite
refuses 2 'ends with .onnx' export colour model.h5 --for onnx
refuses 2 'fid, onnx or safetensors' export colour a b --for torch
refuses 2 'MODEL OUT --for onnx' export colour inputs model.onnx --for onnx
refuses 2 'of --for fid' export colour model.onnx --for onnx --count 3
refuses 2 'no model.h5' export inputs other.onnx --for onnx
cp colour/model.h5 cut.h5
truncate -s 3000 cut.h5
exits 2 export cut.h5 other.onnx --for onnx
missing other.onnx
"$PROBE" vectors points.npy 64 3
does train --source points.npy --target points.npy "${points[@]}" --out points
does export points points.onnx --for onnx
