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
