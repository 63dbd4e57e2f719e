#!/usr/bin/env bash
# What translate keeps of what it was given: size, aspect, name, folder, alpha; formats; tiles.
. "$(dirname "$0")/lib.sh"

alpha() { "$PROBE" alpha "$@" || fail "alpha of $1 and $2 differs"; }
pixels() { "$PROBE" pixels "$@"; }
equal_pixels() { cmp -s <(pixels "$1") <(pixels "$2") || fail "the pixels of $1 and $2 differ"; }

# Its noise can be seen after few steps already.
does train "${digits[@]}" "${images[@]}" --latent 3 --condition-noise off --sigma-end 0.4 --out run

mkdir -p set/sub/deep
"$PROBE" png set/sub/rgba.png 40 25 4 1
"$PROBE" png set/sub/deep/greya.png 9 9 2 3
"$PROBE" png set/grey.png 20 30 1 2
"$PROBE" png set/one.png 1 1 3 4
"$PROBE" png set/long.png 3 64 3 5
"$PROBE" png set/same.png 16 16 3 6
names=(sub/rgba sub/deep/greya grey one long same)

title "every format and fit keeps sizes, names and folders, and alpha where the format can"
for fit in resize tile; do
	for format in png webp jpeg; do
		out=$fit-$format
		ending=.${format/jpeg/jpg}
		does translate run set $out --fit $fit --format $format
		files $out "${names[@]/%/$ending}"
		with=4
		[[ $format == jpeg ]] && with=3
		size 40 25 $with $out/sub/rgba$ending
		size 9 9 $with $out/sub/deep/greya$ending
		size 20 30 3 $out/grey$ending
		size 1 1 3 $out/one$ending
		size 3 64 3 $out/long$ending
		size 16 16 3 $out/same$ending
		[[ $format == jpeg ]] && warns 'laid over white'
		[[ $format == jpeg ]] && continue
		alpha $out/sub/rgba$ending set/sub/rgba.png
		alpha $out/sub/deep/greya$ending set/sub/deep/greya.png
	done
	does translate run set $fit-exact --fit $fit --format webp --quality 100
	for name in "${names[@]}"; do equal_pixels $fit-exact/$name.webp $fit-png/$name.png; done
	does translate run set $fit-3 --fit $fit --samples 3
	same $fit-3/sub/rgba_0.png $fit-png/sub/rgba.png
	differ $fit-3/sub/rgba_0.png $fit-3/sub/rgba_2.png
	alpha $fit-3/sub/rgba_2.png set/sub/rgba.png
done
differ resize-png/sub/rgba.png tile-png/sub/rgba.png
does translate run set crop --fit crop
files crop "${names[@]/%/.png}"
for name in "${names[@]}"; do size 16 16 3 crop/$name.png; done

title "the default is what training saw, and says so once"
does translate run set plain
diff -r plain resize-png || fail "the default is another fit"
[[ $(grep -c 'as in training' err) == 1 ]] || fail "expected one line"
"$PROBE" png fits.png 16 16 1 6
does translate run fits.png plain.png
[[ ! -s err ]] || fail "expected no line for a picture of the model's size"
does translate run set/same.png same.png
warns 'in colour are made grey' # the model's digits are

title "a picture of the model's size is translated the same by every fit"
for fit in resize-png tile-png crop; do same $fit/same.png same.png; done
# One square tile: resized, translated, resized back.
"$PROBE" png square.png 16 16 3 9
does translate run square.png a.png --fit crop
does translate run square.png b.png --fit tile
same a.png b.png

title "alone or among others, a picture is the same"
for name in sub/rgba grey long; do
	for fit in resize tile; do
		does translate run set/$name.png alone.png --fit $fit --threads 1
		same alone.png $fit-png/$name.png
	done
done
mkdir turned
cp set/long.png turned/a.png
cp set/sub/rgba.png turned/b.png
cp set/same.png turned/c.png
does translate run turned turned-out --fit tile
same turned-out/a.png tile-png/long.png
same turned-out/b.png tile-png/sub/rgba.png

title "one picture: the ending is the format"
for ending in png jpg jpeg webp JPG; do
	does translate run set/grey.png one.$ending
	size 20 30 3 one.$ending
done
does translate run set/grey.png two.webp --format webp --quality 60
does translate run set/grey.png sub.jpg --samples 2
exists sub_0.jpg sub_1.jpg
refuses 2 'PNG, JPEG or WebP' translate run set/grey.png x.bmp
refuses 2 'ending' translate run set/grey.png x.png --format jpeg
refuses 2 '.h5' translate run set x.npy --format h5
refuses 2 'expected png' translate run set x --format tiff
refuses 2 'expected resize' translate run set x --fit squash
refuses 2 '100 at most' translate run set x --sigma 101
missing x x.png x.bmp x.npy

title "arrays keep their size, and alpha"
"$PROBE" images rgb.npy 5 20 30 3
"$PROBE" images rgba.npy 5 20 30 4
for fit in resize tile; do
	for ending in npy npz h5; do
		does translate run rgb.npy o.$ending --fit $fit --overwrite
		does info o.$ending --json
		json out count=5 height=20 width=30 channels=3
		does translate run rgba.npy a.$ending --fit $fit --samples 2 --overwrite
		exists a.$ending
	done
	does translate run rgba.npy rgba-$fit --fit $fit
	does translate run rgba-$fit rgba-$fit.npy --overwrite
	does info rgba-$fit.npy --json
	json out 'stored=5 x 20 x 30 x 4 uint8 as N x H x W x C'
	size 30 20 4 rgba-$fit/*.png
done
does translate run rgb.npy cropped.npy --fit crop
does info cropped.npy --json
json out count=5 height=16 width=16 channels=3
refuses 2 'several sizes' translate run set sizes.npy
does translate run set sizes.npy --fit crop
does info sizes.npy --json
json out count=6 height=16 width=16
mkdir mixed
cp set/same.png mixed/a.png
"$PROBE" png mixed/b.png 16 16 4 2
does translate run mixed mixed.npy
does info mixed.npy --json
json out 'stored=2 x 16 x 16 x 4 uint8 as N x H x W x C' # what has no alpha is opaque
does translate run mixed mixed-out
size 16 16 3 mixed-out/a.png

title "generated sets are made at the model's size"
does translate run 'synth:digits?limit=2' made
size 16 16 3 made/*.png

title "16 bits a channel come out as 8, and it says so"
{
	printf 'P5\n20 20\n65535\n'
	head -c 800 /dev/zero | tr '\0' '\100'
} >deep.pgm
does translate run deep.pgm deep.png
warns 'more than 8 bits'

title "a checkpoint stands for its model, at its own sigma unless told"
does translate run set/sub/rgba.png by-run.png
does translate run/checkpoints/step-0000006.h5 set/sub/rgba.png by-checkpoint.png
same by-run.png by-checkpoint.png
does translate run set/sub/rgba.png by-sigma.png --sigma 0.4
same by-run.png by-sigma.png
does translate run set/sub/rgba.png other.png --sigma 0.1
says 'sigma 0.1'
differ by-run.png other.png

title "tiles leave no seams"
# Without noise and patches a seam could hide behind. Tiles put side by side, or blended over a quarter, gave 1.7 to
# 4 at their borders after 100 steps, these 0.85 to 1.15.
does train "${digits[@]}" "${images[@]}" --latent 3 --condition-noise off --patch 1 --steps 100 --seed 3 --out seams
"$PROBE" smooth smooth.png 150 110
does translate seams smooth.png tiled.png --fit tile --sigma 0.001
size 150 110 3 tiled.png
differ tiled.png smooth.png
"$PROBE" seams tiled.png smooth.png 16 2 1.5 >ratio || fail "seams: $(cat ratio)"

title "memory grows with the picture alone"
"$PROBE" smooth small.png 200 150
"$PROBE" smooth large.png 1500 1000
small=$("$PROBE" peak "$OTPLAN" translate run small.png small-out.png --fit tile --threads 2 2>/dev/null)
large=$("$PROBE" peak "$OTPLAN" translate run large.png large-out.png --fit tile --threads 2 2>/dev/null)
# Six times the bytes at most: the file, decoded, translated, filtered for PNG, and compressed in a buffer that
# doubles. Sums of the whole as floats would be four times more.
# Sanitizers keep what is freed.
[[ $OTPLAN == *sanitize* ]] || ((large - small < 6 * 1500 * 1000 * 3 / 1024)) || fail "$small KiB, then $large KiB"
