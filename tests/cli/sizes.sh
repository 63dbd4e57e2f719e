#!/usr/bin/env bash
# What becomes of pictures on the way to the model: filter, aspect, sizes that are no squares, crops; the same in
# training, translate, eval and export, and told by the model's file.
. "$(dirname "$0")/lib.sh"

mkdir -p a/sub b
for i in 0 1 2 3 4; do
	"$PROBE" png a/$i.png 40 25 3 $i
	"$PROBE" png b/$i.png 31 33 3 $((i + 9))
done
"$PROBE" png a/sub/small.png 20 12 4 7
sides=(--source a --target b)
images+=(--steps 4)
# fields RUN WORDS...: what the model's file says of its preprocessing, and no more.
fields() {
	local run=$1
	shift
	does info "$run/model.h5"
	diff <(grep -oE 'preprocessing/(resize|filter|aspect|random_crop|load_height|load_width) +[^ ]+' out | tr -s ' ' | cut -d/ -f2) \
		<(printf '%s\n' "$@") || fail "$run describes itself otherwise"
}

title "the default is as before: a square, bilinear, its middle; and the file says so as before"
does train "${sides[@]}" "${images[@]}" --image-size 16 --out plain
fields plain 'resize shorter-side-triangle-centre-crop'
does train "${sides[@]}" "${images[@]}" --image-size 16x16 --resize bilinear --aspect crop --crop 0 --out said
same plain/model.h5 said/model.h5
grep -qx 'resize = bilinear' plain/config.ini || fail "the filter is not in config.ini"
cp -r plain older # config.ini of a run from before
sed -i -E '/^(resize|aspect|crop) =/d' older/config.ini
does train --resume --out older --steps 5
does train --resume --out plain --steps 5
same older/model.h5 plain/model.h5

title "filters and aspects change what is learned, and are kept"
for how in '--resize area' '--resize bicubic' '--resize lanczos' '--aspect pad' '--aspect stretch'; do
	read -r option word <<<"$how"
	does train "${sides[@]}" "${images[@]}" --image-size 16 $how --out "of-$word"
	differ said/model.h5 "of-$word/model.h5"
	grep -qx -- "${option#--} = $word" "of-$word/config.ini" || fail "$how is not in config.ini"
done
refuses 2 --resize train --resume --out of-area --resize bilinear
fields of-lanczos 'resize by-filter-and-aspect' 'filter lanczos'
fields of-pad 'resize by-filter-and-aspect' 'aspect pad-white'
refuses 2 'area' train "${sides[@]}" "${images[@]}" --resize cubic --out no
refuses 2 'stretch' train "${sides[@]}" "${images[@]}" --aspect squash --out no
does train --from of-lanczos "${images[@]}" --steps 2 --out after
fields after 'resize by-filter-and-aspect' 'filter lanczos'

title "translate keeps sizes under every aspect, and evaluates as it trained"
for run in of-pad of-stretch of-lanczos; do
	for fit in resize tile crop; do
		does translate $run a $run-$fit --fit $fit --overwrite
		files $run-$fit {0,1,2,3,4}.png sub/small.png
	done
	size 40 25 3 $run-resize/0.png
	size 20 12 4 $run-tile/sub/small.png
	size 16 16 3 $run-crop/0.png
	# Pictures that were prepared by hand are what the model prepares itself.
	does export $run a $run-made --for fid --target a --count 5
	does eval $run --source a --target b --json
	cp out by-model
	does export $run b $run-b --for fid --target b
	does eval $run --source $run-made/reference --target $run-b/reference --json
	cp out by-hand
	does eval $run --source a?limit=5 --target b --json
	same out by-hand
done

title "sizes that are no squares, by every part"
wide=("${images[@]}" --image-size 32x16 --latent 3 --condition-noise off --sigma-end 0.4)
does train "${sides[@]}" "${wide[@]}" --out wide
fields wide 'resize by-filter-and-aspect'
does info wide/model.h5 --json
json out height=16 width=32
grep -qx 'image-size = 32x16' wide/config.ini || fail "config.ini has another size"
does train "${sides[@]}" "${wide[@]}" --steps 2 --schedule-steps 4 --out cut
does train --resume --out cut --steps 4
"$PROBE" state {wide,cut}/checkpoints/step-0000004.h5 || fail "resumed, it is another run"
does train "${sides[@]}" "${wide[@]}" --plan
says '32x16x3'
says 'brought to 32x16 by bilinear (crop)$'
for fit in resize tile crop; do does translate wide a wide-$fit --fit $fit; done
size 40 25 3 wide-resize/0.png
size 20 12 4 wide-resize/sub/small.png wide-tile/sub/small.png
size 32 16 3 wide-crop/0.png
"$PROBE" images wide.npy 6 16 32 3
"$PROBE" images wide.h5 6 16 32 3
does translate wide wide.npy same-resize.npy
! grep -q "in training" err || fail "expected no line for pictures of the model's size"
for fit in tile crop; do
	does translate wide wide.npy same-$fit.npy --fit $fit
	same same-resize.npy same-$fit.npy
done
does translate wide 'synth:digits?limit=2' digits
does eval wide --source a --target b --json
does export wide a exported --for fid --target b
size 32 16 3 exported/generated/*.png exported/reference/*.png

title "arrays that are no squares train without a word, and go on"
does train --source wide.npy --target wide.h5 "${wide[@]:0:${#images[@]}}" --image-size 0 --out arrays
grep -qx 'image-size = 32x16' arrays/config.ini || fail "the size that was found is not in config.ini"
sed -i 's/^image-size = .*/image-size = 0/' arrays/config.ini # as it was left before
does train --resume --out arrays --steps 5
does translate arrays wide.npy arrays.npy
does info arrays.npy --json
json out height=16 width=32

title "sizes that networks cannot halve are refused with the nearest that they can"
refuses 2 '16 and 32x16' train "${sides[@]}" "${images[@]}" --image-size 17x16 --multipliers 1,1,1,1 --potential-multipliers 1,2 --out no
refuses 2 'nearest is 16' train "${sides[@]}" "${images[@]}" --image-size 15 --multipliers 1,1,1,1 --out no
refuses 2 '--crop' train "${sides[@]}" "${images[@]}" --image-size 16 --crop 10x6 --multipliers 1,1,1 --out no
for size in 64x 0x16 -4 4097 16X16 x; do refuses 2 'width x height' train "${sides[@]}" "${images[@]}" --image-size=$size --out no; done
missing no

title "random crops: of pictures brought to a size, and of pictures as they are"
crops=("${images[@]}" --latent 3 --condition-noise off --sigma-end 0.4 --flip)
does train "${sides[@]}" "${crops[@]}" --image-size 24x20 --crop 16 --out cropped
fields cropped 'resize by-filter-and-aspect' 'random_crop 1' 'load_height 20' 'load_width 24'
does train "${sides[@]}" "${crops[@]}" --image-size 24x20 --crop 16 --workers 3 --threads 1 --parts 2 --out again
does train "${sides[@]}" "${crops[@]}" --image-size 24x20 --crop 16 --workers 0 --threads 2 --parts 2 --out twice
"$PROBE" state {again,twice}/checkpoints/step-0000004.h5 || fail "workers change the run"
does train "${sides[@]}" "${crops[@]}" --image-size 24x20 --crop 16 --parts 2 --steps 2 --schedule-steps 4 --out half
does train --resume --out half --steps 4
"$PROBE" state {again,half}/checkpoints/step-0000004.h5 || fail "resumed, it is another run"
does train "${sides[@]}" "${crops[@]}" --image-size 24x20 --crop 16 --aspect stretch --seed 9 --out other
differ cropped/model.h5 other/model.h5
does train "${sides[@]}" "${crops[@]}" --crop 16 --out own # small.png is enlarged
fields own 'resize by-filter-and-aspect' 'random_crop 1'
does train --source 'a?keep=off' --target 'b?keep=off' "${crops[@]}" --crop 16 --out own2
"$PROBE" state {own,own2}/checkpoints/step-0000004.h5 || fail "what is kept in memory changes the run"
does train --resume --out own --steps 5
does train "${sides[@]}" "${crops[@]}" --crop 16 --dry-run
says 'as they are, in random crops of 16$'
refuses 2 '--crop' train "${sides[@]}" "${crops[@]}" --image-size 16 --crop 32 --out no
refuses 2 '--crop' train --resume --out own --crop 8
does train --from own "${crops[@]}" --image-size 20 --steps 2 --out onward

title "a model of crops translates in tiles, at the scale that it saw"
does translate own a own-default
warns 'in tiles of 16x16, as in training'
does translate own a own-tile --fit tile
diff -r own-default own-tile || fail "the default of a model of crops is not tile"
size 40 25 3 own-default/0.png
does translate cropped a cropped-default
warns 'cover 24x20'
does translate cropped a cropped-resize --fit resize
diff -r cropped-default cropped-resize || fail "another scale than in training"
does translate cropped a cropped-crop --fit crop
size 16 16 3 cropped-crop/0.png
does eval cropped --source a --target b --json
does export cropped a cropped-made --for fid --target b
size 16 16 3 cropped-made/*/*.png
