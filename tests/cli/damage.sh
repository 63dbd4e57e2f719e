#!/usr/bin/env bash
# Files that are not what they were: cut short, turned over, exchanged. Never a
# crash, never a silent result; and nothing that was there is lost.
. "$(dirname "$0")/lib.sh"

mkdir a b
for i in 0 1 2 3 4 5; do
	"$PROBE" png a/$i.png 16 16 1 $i
	"$PROBE" png b/$i.png 16 16 3 $i
done
does train --source a --target b "${images[@]}" --snapshot-every 3 --out run
last=run/checkpoints/step-0000006.h5
cp $last whole.h5
cp run/model.h5 model.h5
rm $last # so that there is a step left to make
cp run/checkpoints/step-0000003.h5 third.h5

title "a checkpoint cut short"
for length in 0 1 8 100 800 2048 5000 $(($(bytes third.h5) / 2)) $(($(bytes third.h5) - 1)); do
	cut_to third.h5 run/checkpoints/step-0000003.h5 "$length"
	exits 2 train --resume --out run
	complains step-0000003.h5
	missing $last
done

title "a checkpoint with one bit turned over"
for ((k = 0; k < 24; k++)); do
	flipped third.h5 run/checkpoints/step-0000003.h5 $((8 * $(bytes third.h5) * k / 24 + 8 * 37 * k + k % 8))
	code=0
	"$OTPLAN" train --resume --out run >out 2>err </dev/null || code=$?
	tidy
	# A bit that carries nothing may turn: then the run ends as it would have.
	if [[ $code == 0 ]]; then
		"$PROBE" state whole.h5 $last || fail "bit $k: another result"
		rm $last
	else
		[[ $code == 2 ]] || fail "bit $k: exit code $code"
		complains step-0000003.h5
	fi
done
echo garbage >run/checkpoints/step-0000003.h5
exits 2 train --resume --out run
complains step-0000003.h5
cp model.h5 run/checkpoints/step-0000003.h5
exits 2 train --resume --out run
complains 'is a model, expected a checkpoint'

title "a damaged checkpoint is passed over and named; the one before it goes on"
cp third.h5 run/checkpoints/step-0000003.h5
cp -r run passing
cut_to whole.h5 passing/checkpoints/step-0000006.h5 5000
spoiled whole.h5 passing/checkpoints/step-0000005.h5
exits 0 train --resume --out passing --keep 1
warns '^passed over: passing/checkpoints/step-0000006.h5: '
warns '^passed over: passing/checkpoints/step-0000005.h5: set .* is damaged'
warns '^continuing passing from step 3$'
files passing/checkpoints step-0000006.h5 # what was not whole counts for nothing
"$PROBE" state whole.h5 passing/checkpoints/step-0000006.h5 || fail "another result"
same model.h5 passing/model.h5
does train --resume --out run

title "other data under the same name"
cp -r run moved
rm moved/checkpoints/step-0000006.h5
"$PROBE" png a/9.png 16 16 1 9
exits 2 train --resume --out moved
complains 'not the data'
rm a/9.png
"$PROBE" png b/1.png 16 16 3 11
exits 2 train --resume --out moved
complains 'not the data'
"$PROBE" png b/1.png 16 16 3 1
does train --resume --out moved

title "a run's settings changed by hand or damaged"
cp -r moved edited
rm edited/checkpoints/step-0000006.h5
sed -i 's/^width = 8/width = 16/' edited/config.ini
exits 2 train --resume --out edited
complains 'width = 16, but the run was trained with width = 8'
echo 'widht = 8' >>edited/config.ini
refuses 2 config.ini train --resume --out edited

title "a model cut short"
for length in 0 1 8 100 800 2048 5000 $(($(bytes model.h5) / 2)) $(($(bytes model.h5) - 1)); do
	cut_to model.h5 cut.h5 "$length"
	refuses 2 cut.h5 translate cut.h5 a o
	refuses 2 cut.h5 info cut.h5
done
missing o

title "a model with one bit turned over"
does translate model.h5 a whole
for ((k = 0; k < 24; k++)); do
	flipped model.h5 flipped.h5 $((8 * $(bytes model.h5) * k / 24 + 8 * 41 * k + k % 8))
	code=0
	"$OTPLAN" translate flipped.h5 a o$k >out 2>err </dev/null || code=$?
	if [[ $code == 0 ]]; then
		diff -r whole o$k >/dev/null || fail "bit $k: another result"
	else
		[[ $code == 2 ]] || fail "bit $k: exit code $code"
		complains flipped.h5
		missing o$k
	fi
done

title "pictures that turn out broken"
head -c 100 a/0.png >a/cut.png
exits 3 translate model.h5 a some
warns a/cut.png
files some {0,1,2,3,4,5}.png

# full KIB WORD ARGUMENTS...: no file can grow beyond KIB, as on a full disk.
full() {
	local most=$1 word=$2 code=0
	shift 2
	(
		trap '' XFSZ
		ulimit -f "$most"
		exec "$OTPLAN" "$@" 2>&1 >/dev/null </dev/null | head -c 4096 >"$work/err"
	) || code=$?
	: >out
	[[ $code == 1 ]] || fail "otplan $*: exit code $code, expected 1"
	tidy
	complains "$word"
}

title "a full disk"
rm a/cut.png
for most in 2 100 $((($(bytes whole.h5) - 1) / 1024)); do
	rm -rf starved
	full "$most" starved train --source a --target b "${images[@]}" --snapshot-every 3 --out starved
done
if [[ -e starved/config.ini ]]; then # there was room for a checkpoint
	does train --resume --out starved
else
	does train --source a --target b "${images[@]}" --snapshot-every 3 --out starved
fi
same model.h5 starved/model.h5
for ending in npy npz h5; do
	full 2 o.$ending translate model.h5 'synth:digits?limit=40' o.$ending
	missing o.$ending
done
full 1 generated export model.h5 'synth:digits?limit=40' starved-export --for fid --target b
missing starved-export/manifest.json starved-export/generated.npz
