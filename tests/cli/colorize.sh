#!/usr/bin/env bash
# Colouring: one set, its grey half against the colours of the other; and colours on an input's own luminance.
. "$(dirname "$0")/lib.sh"

mkdir photos
for i in 0 1 2 3 4 5 6 7 8; do "$PROBE" png photos/$i.png $((16 + i % 3)) 17 3 $((9 * i)); done
colorize=(--task colorize --data photos --image-size 16)
setting() { grep -qx "$2 = \"*$3\"*" "$1/config.ini" || fail "$1/config.ini does not say $2 = $3"; }

title "train, plan, dry run, config file, resume"
does train "${colorize[@]}" "${images[@]}" --out run
setting run source "$PWD/photos?part=1/2&grey"
setting run target "$PWD/photos?part=2/2"
setting run channels 3
warns 'colouring: source are the grey pictures of one half'
warns 'part=1/2&grey: 5 samples; .*part=2/2: 4 samples'
does train "${colorize[@]}" "${images[@]}" --dry-run
says 'task  *colorize'
does train "${colorize[@]}" "${images[@]}" --plan
says 'task  *colorize'
printf 'task = colorize\ndata = photos\nimage-size = 16\nsteps = 3\n' >settings.ini
does train --config settings.ini "${images[@]}" --out again
same run/model.h5 again/model.h5
does train --config run/config.ini --out third
same run/model.h5 third/model.h5
does train --resume --out run --steps 8
does train --data photos --task colorize --resume --out run
does train --source 'photos?part=1/2&grey' --target 'photos?part=2/2' --image-size 16 "${images[@]}" --steps 8 \
	--schedule-steps 6 --out said
same run/model.h5 said/model.h5
does train --from run --task colorize --data photos --steps 2 --out next
does train --task colorize --data photos --image-size 32 --width 8 --potential-width 8 --batch 2 --plan
grep parameters out >chosen
does train --task colorize --data photos --image-size 32 --width 8 --potential-width 8 --batch 2 --plan --preset photo-32
diff <(grep parameters out) chosen || fail "another preset than photo-32" # pictures of 32 pixels choose it, without a GPU

title "what is refused"
refuses 2 'needs --data' train --task colorize "${images[@]}" --out no
refuses 2 'needs --task' train --data photos "${images[@]}" --out no
refuses 2 'cannot be combined' train "${colorize[@]}" --source photos --target photos "${images[@]}" --out no
refuses 2 'cannot be combined' train "${colorize[@]}" --dataroot photos "${images[@]}" --out no
refuses 2 'decides itself' train --task colorize --data 'photos?part=1/3' --image-size 16 "${images[@]}" --out no
refuses 2 'draws its own colours' train --task colorize --data synth:digits-hsv "${images[@]}" --out no
mkdir grey
for i in 0 1 2; do "$PROBE" png grey/$i.png 16 16 1 $i; done
refuses 2 'grey ones alone' train --task colorize --data grey "${images[@]}" --out no
"$PROBE" vectors points.npy 20 3
refuses 2 'for images' train --task colorize --data points.npy "${images[@]}" --out no
refuses 2 'leaves no colours' train "${colorize[@]}" --channels 1 "${images[@]}" --out no
refuses 2 none train --task paint --data photos "${images[@]}" --out no

title "--keep-luminance, at every fit and size"
does train "${colorize[@]}" "${images[@]}" --residual off --lr_g 0.02 --warmup 0 --steps 30 --out vivid
mkdir in
"$PROBE" png in/grey.png 40 29 1 3
"$PROBE" png in/colour.png 64 37 3 90
"$PROBE" png in/veiled.png 33 21 4 7
"$PROBE" png in/own.png 16 16 3 200
for fit in resize tile; do
	does translate vivid in $fit --fit $fit --samples 2 --keep-luminance
	warns 'outputs keep the luminance of inputs'
	for name in grey colour own veiled; do
		"$PROBE" luminance in/$name.png $fit/${name}_0.png
		"$PROBE" luminance in/$name.png $fit/${name}_1.png
	done
	size 33 21 4 $fit/veiled_0.png
done
does translate vivid in/own.png crop.png --fit crop --keep-luminance
"$PROBE" luminance in/own.png crop.png
does translate vivid in plain --fit resize --samples 2
differ plain/colour_0.png resize/colour_0.png
does translate vivid grey array.npy --fit tile --keep-luminance

title "colours of inputs never show through: a picture in colour is its grey one"
does info vivid/model.h5 --json
grep -q '"preprocessing/grey_source":1' out || fail "the model does not say that its sources are grey"
for with in '--fit resize' '--fit tile' '--fit crop' '--fit resize --keep-luminance' '--fit crop --keep-luminance'; do
	# shellcheck disable=SC2086
	does translate vivid in given $with --samples 2 --overwrite
	warns 'in colour are made grey'
	# shellcheck disable=SC2086
	does translate vivid 'in?grey' by-hand $with --samples 2 --overwrite
	for file in given/*.png; do same "$file" "by-hand/${file##*/}"; done
done
does export vivid photos exported --for fid --target photos
does export vivid 'photos?grey' greyed --for fid --target photos
for file in exported/generated/*.png exported/reference/*.png; do same "$file" "greyed/${file#*/}"; done
measured() { does eval vivid --json "$@" && cp out "$name"; }
name=given.json measured --source photos --target photos
name=grey.json measured --source 'photos?grey' --target photos
same given.json grey.json
name=grey.json measured --source photos --target 'photos?grey'
differ given.json grey.json
name=given.json measured --source photos --truth photos
name=grey.json measured --source photos --truth 'photos?grey'
differ given.json grey.json
does train --source 'photos?part=1/2&grey' --target 'photos?part=2/2' --test-source photos --test-target photos \
	--image-size 16 "${images[@]}" --out tested
does train --source 'photos?part=1/2&grey' --target 'photos?part=2/2' --test-source 'photos?grey' --test-target photos \
	--image-size 16 "${images[@]}" --out tested-grey
measures() { grep -o '"target_distance":[^,]*' "$1/metrics.jsonl"; }
[[ -n $(measures tested) && $(measures tested) == "$(measures tested-grey)" ]] || fail "test sources keep their colours"
does train --source grey --target photos --image-size 16 "${images[@]}" --out natural
does translate natural in/own.png own.png
does translate natural 'in/own.png?grey' own-grey.png
same own.png own-grey.png
does train --source photos --target photos --image-size 16 "${images[@]}" --out colours
does translate colours in/own.png own.png
does translate colours 'in/own.png?grey' own-grey.png
differ own.png own-grey.png

title "what has no colours to give"
does translate run grey by-sigma --sigma 0.3
warns '--sigma changes nothing'
refuses 2 'coloured as it is read' translate run 'synth:digits-hsv?limit=3' no --keep-luminance
does train --source grey --target grey "${images[@]}" --out black
refuses 2 'pictures in colour' translate black grey no --keep-luminance
does train "${lines[@]}" "${points[@]}" --out points
refuses 2 'pictures in colour' translate points "synth:one-to-many-source?limit=4" no.npy --keep-luminance
missing no no.npy
