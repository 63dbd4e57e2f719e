#!/usr/bin/env bash
# translate: what goes in, where it comes out, and what a sample depends on.
. "$(dirname "$0")/lib.sh"

# Its noise can be seen after few steps already: the generator is handed x' alone and adds to it.
does train "${digits[@]}" "${images[@]}" --latent 3 --condition-noise off --sigma-end 0.4 --out run
model=run/model.h5

title "one picture to one picture"
"$PROBE" png in.png 16 16 3 1
does translate $model in.png out.png
says 'translated 1 input,'
size 16 16 3 out.png
does translate run in.png sub/below/out.png # a run stands for its model; folders are made
same out.png sub/below/out.png
does translate $model in.png out.png --samples 3
size 16 16 3 out_0.png out_1.png out_2.png
same out_0.png out.png
differ out_0.png out_1.png
does translate $model in.png folder
files folder in.png
same folder/in.png out.png

title "a folder with sub-folders keeps its names"
mkdir -p set/a/b 'set/with space'
"$PROBE" png set/a/b/deep.png 16 16 3 2
"$PROBE" png set/a/dot.ted.png 16 16 3 3
"$PROBE" png 'set/with space/x.png' 16 16 3 4
"$PROBE" png set/same.png 16 16 3 5
printf 'P6\n16 16\n255\n' >set/same.ppm
head -c 768 /dev/urandom >>set/same.ppm
long=$(printf 'n%.0s' {1..200})
"$PROBE" png set/$long.png 16 16 3 6
"$PROBE" png set/${long}m.png 16 16 3 7
echo none >set/notes.txt
does translate $model set all
files all a/b/deep.png a/dot.ted.png 'with space/x.png' same.png.png same.ppm.png $long.png ${long}m.png
does translate $model set all3 --samples 3
files all3 {a/b/deep,a/dot.ted,'with space/x',same.png,same.ppm,${long},${long}m}_{0,1,2}.png
same all/a/b/deep.png all3/a/b/deep_0.png

title "sizes and channels that are not the model's"
mkdir odd
"$PROBE" png odd/rgba.png 40 25 4 1
"$PROBE" png odd/grey.png 16 16 1 2
"$PROBE" png odd/greya.png 9 9 2 3
"$PROBE" png odd/one.png 1 1 3 4
"$PROBE" png odd/long.png 3 64 3 5
does translate $model odd oddly
files oddly {rgba,grey,greya,one,long}.png
size 40 25 4 oddly/rgba.png # tests/cli/fit.sh has the rest
does translate $model odd cropped --fit crop
files cropped {rgba,grey,greya,one,long}.png
size 16 16 3 cropped/*.png

title "arrays"
"$PROBE" images stack.npy 5 16 16 3
for ending in npy npz h5; do
	does translate $model stack.npy o.$ending
	does info o.$ending --json
	json out count=5 height=16 width=16 channels=3 samples=images
	does translate $model stack.npy k.$ending --samples 2
	exists k.$ending
done
does translate $model stack.npy pictures
files pictures 00000{0,1,2,3,4}.png
does translate $model o.npz:arr_0 again
does translate $model 'synth:digits?limit=3' generated
files generated 00000{0,1,2}.png
does translate $model 'stack.npy?limit=2&grey' grey
files grey 00000{0,1}.png

title "vectors"
does train "${lines[@]}" "${points[@]}" --out points
"$PROBE" vectors v.npy 300 2
for ending in npy npz h5; do
	does translate points v.npy v1.$ending
	does info v1.$ending --json
	json out count=300 channels=2 samples=vectors
	does translate points v.npy v3.$ending --samples 3 --seed 4
done

title "a seed is a choice of samples"
does translate $model set seed1 --seed 1
does translate $model set seed2 --seed 2
diff -r all seed1 || fail "1 is the seed by default"
differ seed1/a/b/deep.png seed2/a/b/deep.png

title "a sample depends on nothing around it"
# One input more than a chunk holds, in another order, on other threads, on its own.
mkdir many
for i in {10..49}; do "$PROBE" png many/$i.png 16 16 3 "$i"; done
does translate $model many m2 --samples 2 --threads 2
does translate $model many m1 --samples 2 --threads 1
does translate $model many m5 --samples 2 --threads 5
diff -r m2 m1 || fail "one thread, other samples"
diff -r m2 m5 || fail "five threads, other samples"
for i in 10 23 49; do
	does translate $model many/$i.png alone$i --samples 2
	same alone$i/${i}_0.png m2/${i}_0.png
	same alone$i/${i}_1.png m2/${i}_1.png
done
mkdir turned
for i in {10..49}; do cp many/$i.png turned/$((99 - i)).png; done
does translate $model turned t5 --samples 5
for i in {10..49}; do same t5/$((99 - i))_1.png m2/${i}_1.png; done

title "what was there is written over only by its successor"
does translate $model in.png in2.png
cp in2.png before.png
does translate $model in.png in2.png --seed 9
differ in2.png before.png
