#!/usr/bin/env bash
# pack: any set to one HDF5 file. What is trained on it is trained on the set; an
# end at any call of the system costs nothing but a piece.
. "$(dirname "$0")/lib.sh"

run=("${images[@]}" --log-every 1)
figures() { sed 's/"time_s":[^,]*,//; s/"images_per_s":[^,}]*//' "$1/metrics.jsonl"; }
# alike INPUT PACK OPTIONS...: the same losses from the pack as from the input.
alike() {
	local input=$1 pack=$2
	shift 2
	rm -rf plain packed
	exits 0 train --source "$input" --target "$input" "$@" --out plain
	exits 0 train --source "$pack" --target "$pack" "$@" --out packed
	[[ $(wc -l <plain/metrics.jsonl) -ge 6 ]] || fail "too few figures"
	diff <(figures plain) <(figures packed) || fail "$pack trains otherwise than $input"
}

mkdir -p a/below
for i in 0 1 2 3 4 5 6 7; do "$PROBE" png a/$i.png 16 16 3 $i; done
for i in 8 9; do "$PROBE" png a/below/$i.png 16 16 4 $i; done
does train --source a --target a "${images[@]}" --out model

title "pictures of one size: the same rows, names, order and training"
does pack a a.h5
says '^packed 10 pictures of 16x16x3'
"$PROBE" names a.h5 {0,1,2,3,4,5,6,7}.png below/{8,9}.png
does info a --json
digest=$(sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/' out)
does info a.h5 --json
json out count=10 height=16 width=16 channels=3 packed
grep -q '"packed":{"program":"otplan [0-9.]* pack","input":"a","input_digest":"'"$digest"'"' out || fail "no provenance"
grep -q '"resize":"none","listed":10,"left_out":0,"seed":1}' out || fail "no provenance"
does info a.h5
says '^  input  *a$'
alike a a.h5 "${run[@]}"
does pack 'a?part=2/2&grey' grey.h5
says '^packed 5 pictures of 16x16x1'
alike 'a?part=2/2&grey' grey.h5 "${run[@]}"

title "pictures of several sizes need one"
cp -r a several
"$PROBE" smooth several/wide.png 40 20
refuses 2 '--image-size' pack several several.h5
missing several.h5 several.h5.partial several.h5.partial.journal
does pack several several.h5 --image-size 16
says '^packed 11 pictures of 16x16x3'
alike several several.h5 --image-size 16 "${run[@]}"

title "pictures are prepared as train prepares them"
how=(--image-size 24x16 --aspect pad --resize lanczos)
does pack several pad.h5 "${how[@]}"
says '^packed 11 pictures of 24x16x3'
alike several pad.h5 "${how[@]}" "${run[@]}"
refuses 2 'needs --image-size' pack several no.h5 --aspect pad
refuses 2 'expected crop|pad|stretch' pack several no.h5 --image-size 16 --aspect round
refuses 2 'expected pixels like' pack several no.h5 --image-size 16x

title "alpha can be kept"
does pack a alpha.h5 --channels 4
says 'of 16x16x4'

title "arrays, archives, generated sets, points"
"$PROBE" images bytes.npy 6 8 10 3
does pack bytes.npy bytes.h5
says '^packed 6 pictures of 10x8x3'
does translate model bytes.h5 from-pack.npy
does translate model bytes.npy from-array.npy
same from-pack.npy from-array.npy
does pack bytes.h5 again.h5
says '^packed 6'
refuses 2 'limit=N' pack synth:digits digits.h5
does pack 'synth:digits?limit=20' digits.h5
warns 'rows have 8 bits'
says '^packed 20 pictures of 16x16x1'
"$PROBE" vectors points.npy 40 3
does pack points.npy points.h5
says '^packed 40 vectors of 3 values'
refuses 2 'is for pictures' pack points.npy no.h5 --image-size 16
alike points.npy points.h5 "${points[@]}" --log-every 1

title "broken pictures are named and counted"
cp -r a broken
cut_to a/3.png broken/3.png 100
cut_to a/6.png broken/7b.png 60
exits 3 pack broken broken.h5
warns 'skipped: broken/3.png:'
warns '2 pictures could not be decoded'
says '^packed 9 pictures'
does info broken.h5 --json
json out count=9
says '"listed":11,"left_out":2'
does info broken.h5
says '^  listed (rows and left out)  *11$'
"$PROBE" names broken.h5 {0,1,2,4,5,6,7}.png below/{8,9}.png
alike broken broken.h5 "${run[@]}"
mkdir none
cut_to a/3.png none/3.png 100
exits 2 pack none none.h5
complains 'none of its'
missing none.h5

title "nothing is written over"
cp a.h5 kept.h5
refuses 2 '--overwrite' pack a kept.h5
same a.h5 kept.h5
does pack several kept.h5 --image-size 16 --overwrite
same several.h5 kept.h5
refuses 2 'the input itself' pack a.h5 a.h5 --overwrite
refuses 2 'lies inside a' pack a a/below/a.h5
refuses 2 '.h5' pack a a.npy
refuses 2 'channels' pack a two.h5 --channels 2
refuses 2 'no such file' pack nowhere nowhere.h5
[[ -z $(find . -name '*.partial*' -o -name '*.h5.lock') ]] || fail "left behind: $(find . -name '*.partial*')"

# Killed in the middle of a write to a file of this name: nothing under the final name.
killed() {
	local fault=$1 code=0
	shift
	{ LD_PRELOAD=$FAULT OTP_FAULT=$fault "$OTPLAN" "$@" >out 2>err </dev/null || code=$?; } 2>/dev/null
	[[ $code == 137 || $code == 3 ]] || fail "$fault: exit code $code"
	find . -name '*.tmp-*' -delete
	[[ $code == 137 ]]
}

title "killed at any call that changes the disk, the same command ends as if nothing had been"
n=0
for ((i = 1; i < 200; i++)); do
	rm -f k.h5*
	killed change:$i:kill:k.h5 pack broken k.h5 || break
	[[ ! -e k.h5 ]] || same k.h5 broken.h5
	if [[ ! -e k.h5 ]]; then
		exits 3 pack broken k.h5
		same k.h5 broken.h5
		n=$((n + 1))
	fi
done
((n > 10)) || fail "only $n ends were tried"
rm k.h5*

title "what is on the disk is not made again, and only what is of the same input and settings"
mkdir large
for i in 0 1 2; do "$PROBE" smooth large/$i.png 1024 1000; done
for i in 3 4 5; do mkdir large/$i && ln large/[012].png large/$i; done
cut_to large/1.png large/2b.png 5000
exits 3 pack large whole.h5
killed write:4:kill:k.h5.partial pack large k.h5 || fail "was not killed"
exists k.h5.partial k.h5.partial.journal
[[ $(wc -l <k.h5.partial.journal) == 2 ]] || fail "$(cat k.h5.partial.journal)"
exits 3 pack large k.h5
warns 'goes on after [0-9]* of 13 samples'
warns 'skipped: large/2b.png'
# The set's spec is the same, so the files are.
same k.h5 whole.h5
missing k.h5.partial k.h5.partial.journal k.h5.lock
rm k.h5
for other in 'large?limit=12' touched smaller; do
	rm -f k.h5*
	killed write:4:kill:k.h5.partial pack large k.h5 || fail "was not killed"
	case $other in
	touched) touch large/5/1.png && exits 3 pack large k.h5 && same k.h5 whole.h5 ;;
	smaller) exits 3 pack large k.h5 --image-size 512 ;;
	*) exits 3 pack "$other" k.h5 ;;
	esac
	! grep -q 'goes on' err || fail "$other: believes what is of another input"
done
rm -f k.h5*

title "one process at a time; a disk that is full"
code=0
LD_PRELOAD=$FAULT OTP_FAULT=write:4:28:k.h5.partial "$OTPLAN" pack large k.h5 >out 2>err </dev/null || code=$?
[[ $code == 1 ]] || fail "full disk: exit code $code"
complains 'No space left'
exits 3 pack large k.h5
warns 'goes on after'
same k.h5 whole.h5

title "Ctrl-C: exit code 130, and the same command goes on"
"$PROBE" smooth one.png 1024 1000
for i in {10..30}; do mkdir large/$i && ln one.png large/$i; done
"$OTPLAN" pack large c.h5 --threads 1 >out 2>err </dev/null &
for ((i = 0; i < 600; i++)); do
	[[ -e c.h5.partial.journal && $(wc -l <c.h5.partial.journal) -ge 2 ]] && break
	sleep 0.05
done
kill -INT $!
code=0
wait $! || code=$?
[[ $code == 130 ]] || fail "exit code $code"
complains 'the same command goes on'
missing c.h5
exits 3 pack large c.h5
warns 'goes on after'
says '^packed 33 pictures'
