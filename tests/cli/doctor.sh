#!/usr/bin/env bash
# doctor: every case that it knows, found and counted, and none where there is none.
. "$(dirname "$0")/lib.sh"

# found KEY COUNT: the last --json run found this case with this count.
found() { grep -q "\"key\":\"$1\",\"gravity\":\"[a-z]*\",\"count\":$2," out || fail "no case $1 of $2"; }
not_found() { ! grep -q "\"key\":\"$1\"" out || fail "a case $1"; }

mkdir good
for i in {0..119}; do "$PROBE" png good/$i.png 32 32 3 $i; done

title "nothing is found where nothing is wrong"
does doctor good --json
json out set=good kind=pictures format=folder count=120 left_out=0 width_min=32 width_max=32 digest least most mean spread cases
for key in few unreadable skipped tiny aspect turned alpha deep grey flat copies sizes; do not_found $key; done
cp out alone.txt
does info good
grep -q "$(sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/' alone.txt)" out || fail "another digest than info's"
does doctor good --threads 1 --json
same out alone.txt

title "each case"
cp -r good bad
cut_to good/3.png bad/3.png 100
cp good/5.png bad/copy.png
"$PROBE" png bad/tiny.png 20 24 3 3
"$PROBE" smooth bad/long.png 200 60
"$PROBE" png bad/alpha.png 32 32 4 4
"$PROBE" png bad/grey.png 32 32 1 7
{ printf 'P5 32 32 65535\n' && for i in {1..256}; do printf '\0\20\1\50\7\7\200\1'; done; } >bad/deep.pgm
{ printf 'P6 32 32 255\n' && for i in {1..1024}; do printf '\100\100\100'; done; } >bad/flat.ppm
echo notes >bad/notes.txt
printf 'II*\0\10\0\0\0' >bad/scan.tiff
# A JPEG that asks to be turned: EXIF with orientation 6 behind its first two bytes.
"$PROBE" smooth upright.png 40 36
mkdir one && cp upright.png one
does train --source good --target good "${images[@]}" --image-size 16 --out model
does translate model one turned --format jpeg --fit tile
{
	head -c 2 turned/upright.jpg
	printf '\377\341\0\42Exif\0\0MM\0\52\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0'
	tail -c +3 turned/upright.jpg
} >bad/turned.jpg
exits 0 doctor bad --json
found unreadable 1
found skipped 1
found copies 1
found tiny 1
found aspect 1
found alpha 1
found deep 1
found grey 3
found flat 2
found turned 1
found sizes 127
grep -q '"examples":\["copy"\]' out || fail "the copy is not named"
exits 0 doctor bad --image-size 64 --json
found tiny 127
not_found sizes
exits 0 doctor bad --image-size 200x60 --json
found tiny 126 # all but the long one
found aspect 126
exits 0 doctor bad --image-size 32x24 --json
found tiny 1
found aspect 1
refuses 2 '96x64' doctor bad --image-size 32x

title "as text and as a page, which needs nothing else"
exits 0 doctor bad --json
grep -q '"grey":3,"one_channel":2,"colour":124,"alpha":1,"deep":1,' out || fail "other counts than the cases'"
exits 0 doctor bad --out page.html
says '3 in grey (2 stored in one channel), 124 in colour; 1 with alpha, 1 of more'
grep -q '3 in grey, 124 in colour' page.html || fail "other counts than in text"
says '^bad: 127 pictures that can be used$'
says '! 1 picture equal to an earlier one, pixel by pixel: kept in training'
says '      copy = 5$'
exists page.html
[[ $(grep -o 'data:image/png;base64' page.html | wc -l) == 12 ]] || fail "too few pictures in the page"
! grep -qE 'https?://|<script' page.html || fail "the page asks for more"

title "pictures that look the same, in other sizes and compressions"
mkdir looks
"$PROBE" smooth looks/a.png 192 160
does pack looks looks.h5 --image-size 64
does pack looks looks96.h5 --image-size 96
exits 2 doctor looks.h5 looks96.h5 --json
found near-shared 1

title "few, one, none"
mkdir few
cp good/{1,2,3}.png few
does doctor few --json
found few 3
found fid 3
cp good/1.png one/upright.png
exits 2 doctor one
complains 'more than one sample'
cp good/1.png one/again.png
cp good/1.png one/thrice.png
exits 2 doctor one
complains 'all 3 pictures are equal'
mkdir none
refuses 2 'holds no' doctor none
cut_to good/3.png none/3.png 100
exits 2 doctor none
refuses 2 'no such file' doctor nowhere
refuses 2 'limit=N' doctor synth:digits
does doctor 'synth:digits?limit=50'
says '50 pictures'

title "two sets"
exits 0 doctor good bad --json
found shared 120
exits 0 doctor good bad --out pair.html
says '^between them:$'
grep -q '<h2>Between them</h2>' pair.html || fail "the page has no place for what is shared"
! grep -q '<h2>Between' page.html || fail "an empty heading"
exits 2 doctor good good
complains 'same set'
"$PROBE" vectors points.npy 300 3
exits 2 doctor good points.npy
complains 'vectors'
mkdir other
for i in {0..78}; do "$PROBE" png other/$i.png 32 32 3 $((i + 121)); done

title "a root: held-out pictures that were trained on"
mkdir root
cp -r good root/trainA
cp -r other root/trainB
mkdir root/testA root/testB
cp good/7.png root/testA/seen.png
"$PROBE" smooth root/testA/new.png 32 32
cp other/1.png root/testB/seen.png
"$PROBE" smooth root/testB/new.png 32 40
exits 0 doctor root
says '^root/testB: 2 pictures'
says '! 1 picture of root/testA also in root/trainA, pixel by pixel: held-out figures flatter'
says '      seen = root/trainA: 7$'

exits 0 doctor root other
warns 'root holds two sides in folders of their own'

title "a root is found as train finds it, and letters are no root"
mkdir -p lay/Train_A lay/train_b lay/val letters/{A,B,C}
cp -r good/7.png good/8.png lay/Train_A
cp -r other/1.png other/2.png lay/train_b
cp -r root/testB lay/val/B
exits 0 doctor lay
says '^lay/Train_A: 2 pictures'
says '^lay/train_b: 2 pictures'
says '^lay/val/B: 2 pictures'
rm -r lay/train_b
refuses 2 'has no folder trainB' doctor lay
cp good/7.png letters/A; cp good/7.png letters/B; cp good/8.png letters/C
exits 0 doctor letters
says '^letters: 3 pictures'
warns '^letters is taken as one set, .* two sides: otplan doctor letters/A letters/B$'

title "a folder of two folders: how to look at both"
mkdir -p pair/{horses,zebras} kinds/{train,test} three/{a1,a2,a3}
for folder in pair/horses pair/zebras kinds/train kinds/test three/a{1,2,3}; do cp good/{7,8}.png $folder; done
echo notes >pair/notes.txt
exits 0 doctor pair
warns '^pair is taken as one set, .* two sides: otplan doctor pair/horses pair/zebras$'
for place in kinds three good lay/val; do
	exits 0 doctor $place
	! grep 'two sides' err || fail "$place: which would be the sides?"
done

title "a page takes the place of no other file, and lies in no set"
refuses 2 'is or lies inside good' doctor good --out good/page.html
missing good/page.html
cp good/7.png kept.png
refuses 2 '.html' doctor good --out good/7.png
same good/7.png kept.png
echo mine >mine.html
refuses 2 'no page of doctor' doctor good --out mine.html
[[ $(<mine.html) == mine ]] || fail "a page was written over"
refuses 2 'no such folder' doctor good --out nowhere/page.html
does doctor good --out new.html
does doctor good --out new.html

title "points"
does doctor 'synth:gaussian?limit=2000' --json
json out kind=vectors count=2000 dimension=2 not_finite=0 copies=0 mean spread intrinsic_dimension
for key in not-finite constant scales copies dimension scale; do not_found $key; done
"$PROBE" vectors single.npy 300 1
exits 0 doctor single.npy
says '^single.npy: 300 vectors of 1 value$'
"$PROBE" columns columns.npy 500
does doctor columns.npy --json
found constant 1
found scales 3
says '"copies":0'
"$PROBE" columns odd.npy 500 17
exits 2 doctor odd.npy
complains 'number 17'
says 'WRONG: vectors with NaN or infinity: 1;'
exits 2 doctor points.npy points.npy
complains 'same set'
"$PROBE" vectors flat.npy 300 2
exits 2 doctor points.npy flat.npy
complains 'vectors of 3 values'
