#!/usr/bin/env bash
# No file under its final name unless it is whole, whatever system call fails on the way (fault.c); nothing older is
# lost, and the error names file and cause.
. "$(dirname "$0")/lib.sh"

EIO=5 EACCES=13 EMFILE=24 ENOSPC=28 ENOLCK=37
one=("${lines[@]}" "${points[@]}" --steps 4 --snapshot-every 1 --sample-every 100 --keep 1)

# faulty CALL:N:HOW:PART CODE ARGUMENTS...: under that fault.
faulty() {
	local fault=$1 expected=$2 code=0
	shift 2
	LD_PRELOAD=$FAULT OTP_FAULT=$fault "$OTPLAN" "$@" >out 2>err </dev/null || code=$?
	[[ $expected == any || $code == "$expected" ]] || fail "$fault: otplan $*: exit code $code, expected $expected"
	tidy
	[[ $expected != any ]] || return $code
}

does train "${one[@]}" --out whole
does translate whole/model.h5 'synth:one-to-many-source?limit=200' whole.npy

title "one write of a checkpoint or model fails: the one before is good, nothing bad has a name"
failures=0
for fault in step-0000003:{1,2,4,7,11,15} model.h5:{2,6,9,12}; do
	part=${fault%:*} n=${fault#*:} code=0
	how=$((n % 2 ? EIO : ENOSPC))
	rm -rf run
	faulty pwrite:$n:$how:$part any train "${one[@]}" --out run || code=$?
	if ((code)); then
		[[ $code == 1 ]] || fail "exit code $code"
		failures=$((failures + 1))
		complains "$part"
		if ((n % 2)); then complains 'Input/output error'; else complains 'No space left'; fi
	fi
	does info run # digests
	does train --resume --out run
	"$PROBE" state {whole,run}/checkpoints/step-0000004.h5 || fail "$part $n: another result"
	same {whole,run}/model.h5
done
((failures >= 7)) || fail "only $failures of the faults were met"

title "sync, close and rename"
for fault in fsync:1:$EIO:step-0000003 fsync:1:$EIO:metrics close:1:$EIO:metrics rename:1:$EACCES:step-0000003 \
	close:2:$EIO:config.ini fsync:4:$EIO:checkpoints; do
	rm -rf run
	code=0
	faulty $fault any train "${one[@]}" --out run || code=$?
	[[ $code == 1 || $fault == close* ]] || fail "$fault: exit code $code"
	((code == 0)) || complains run
	[[ ! -e run/config.ini ]] || does train --resume --out run
done

title "the order of things"
# in_order FILE PATTERN...: each is met after the one before.
in_order() {
	local file=$1 at=1 line
	shift
	for pattern; do
		line=$(tail -n +$at "$file" | grep -n -m 1 -e "$pattern" | cut -d : -f 1) || true
		[[ $line ]] || fail "$pattern is not met, or too early"
		at=$((at + line))
	done
}
LD_PRELOAD=$FAULT OTP_TRACE=trace "$OTPLAN" train "${one[@]}" --out ordered >out 2>err
in_order trace 'rename .*step-0000002.h5$' 'fsync .*/metrics.jsonl$' 'fsync .*/model.h5.tmp' 'rename .*/model.h5$' \
	'fsync .*/step-0000003.h5.tmp' 'rename .*/step-0000003.h5$' 'fsync .*/checkpoints$' 'unlink .*/step-0000002.h5$'

title "short writes and interrupted calls are gone on with"
for call in write pwrite pread read; do
	rm -rf run
	faulty $call:0:short:run/ 0 train "${one[@]}" --out run
	"$PROBE" state {whole,run}/checkpoints/step-0000004.h5 || fail "$call: another result"
done
faulty write:0:short:o.npy 0 translate whole/model.h5 'synth:one-to-many-source?limit=200' o.npy
same whole.npy o.npy

title "what translate and export write"
"$PROBE" png a.png 16 16 1
does train "${digits[@]}" "${images[@]}" --steps 1 --out drawn
for part in o.npy o.h5 o.png; do
	cp a.png o.png
	for call in write pwrite fsync rename; do
		[[ $part$call != *npypwrite && $part$call != *h5write && $part$call != *pngpwrite ]] || continue
		rm -f o.npy o.h5
		input='synth:digits?limit=20' model=drawn/model.h5
		[[ $part != *.png ]] || input=a.png
		faulty $call:1:$ENOSPC:$part 1 translate $model "$input" $part --overwrite
		complains "$part"
		complains 'No space left'
		if [[ $part == *.png ]]; then same a.png o.png; else missing $part; fi
	done
done

title "a read that fails is no damage"
cp -r whole failing
for fault in pread:3:$EIO:step-0000004 read:1:$EIO:step-0000004; do
	code=0
	faulty $fault any train --resume --out failing --steps 5 || code=$?
	! grep -q -e 'passed over' -e damaged err || fail "a failed read is called damage"
	if ((code)); then complains 'Input/output error'; fi
done
faulty pread:2:$EIO:model.h5 1 info whole/model.h5
complains 'Input/output error'

mkdir pictures
for i in 1 2 3; do "$PROBE" png pictures/$i.png 16 16 1 $i; done
for fault in read:1:$EIO:pictures/ read:5:$EIO:pictures/ open:3:$EACCES:pictures/; do
	faulty $fault 1 translate drawn/model.h5 pictures outputs
	complains pictures/
	rm -rf run
	faulty $fault 1 train --source pictures --target pictures "${images[@]}" --steps 1 --out run
	complains pictures/
done
faulty read:0:short:pictures/ 0 translate drawn/model.h5 pictures outputs
files outputs 1.png 2.png 3.png
# From the seventh read on it is the digest that reads: nothing is kept.
for n in 4 7 8; do
	rm -rf run
	faulty read:$n:$EIO:pictures/ 1 train --source 'pictures?keep=off' --target synth:digits "${images[@]}" --steps 1 --out run
	complains 'Input/output error'
done
faulty list:1:$EIO:pictures 1 translate drawn/model.h5 pictures outputs
complains 'pictures: this folder cannot be listed: Input/output error'

title "nor in a zip of pictures"
"$PROBE" zip p.zip pictures/{1,2,3}.png
does translate drawn/model.h5 p.zip unzipped
files unzipped pictures/{1,2,3}.png
cp -r unzipped right
failures=0
for fault in open:1:$EMFILE open:1:$EACCES open:1:$EIO read:{1,2,3,4,5,6,8,11}:$EIO; do
	code=0
	faulty $fault:/p.zip any translate drawn/model.h5 p.zip unzipped || code=$?
	! grep -q -e skipped -e damaged err || fail "$fault: a failed read is called damage"
	if [[ $code == 0 && $fault == read* ]]; then # libzip read once more
		diff -r right unzipped || fail "$fault: another result"
		continue
	fi
	[[ $code == 1 ]] || fail "$fault: exit code $code"
	failures=$((failures + 1))
	complains p.zip
	case $fault in
	*:$EMFILE) complains 'Too many open files' ;;
	*:$EACCES) complains 'Permission denied' ;;
	*) complains 'Input/output error' ;;
	esac
done
((failures >= 5)) || fail "only $failures of the faults ended the command"
rm -rf run
faulty read:0:$EIO:/p.zip 1 train --source p.zip --target p.zip "${images[@]}" --steps 1 --out run
complains 'Input/output error'
"$PROBE" images p.npz 3 16 16 1
faulty read:1:$EIO:p.npz 1 translate drawn/model.h5 p.npz p.npy
complains 'p.npz'
complains 'Input/output error'

title "killed before there is a run: the same command begins it"
rm -rf run
code=0
{ LD_PRELOAD=$FAULT OTP_FAULT=pwrite:5:kill:step-0000000 "$OTPLAN" train "${one[@]}" --out run >out 2>err || code=$?; } 2>/dev/null
[[ $code == 137 ]] || fail "exit code $code"
missing run/config.ini
does train "${one[@]}" --out run
tidy
same {whole,run}/model.h5

title "no file locks"
faulty lock:0:$ENOLCK:/ 0 train "${one[@]}" --out lockless
does info lockless
faulty lock:0:$ENOLCK:/ 0 info lockless/model.h5

title "info looks at every digest"
does info whole
says '^damaged files  *none$'
last=whole/checkpoints/step-0000004.h5
spoiled $last bad.h5
refuses 1 'its digest differs' info bad.h5
spoiled whole/model.h5 bad.h5
refuses 1 bad.h5 info bad.h5
refuses 2 bad.h5 translate bad.h5 nowhere no
cp bad.h5 whole/model.h5
exits 1 info whole
complains model.h5
says '^damaged files  *model.h5$'

title "a damaged model is written anew from the checkpoint"
cp drawn/model.h5 good.h5
for damage in cut gone flipped; do
	case $damage in
	cut) cut_to good.h5 drawn/model.h5 3000 ;;
	gone) rm drawn/model.h5 ;;
	flipped) spoiled good.h5 drawn/model.h5 ;;
	esac
	does train --resume --out drawn
	warns 'model.h5'
	same good.h5 drawn/model.h5
done
