#!/usr/bin/env bash
# Roots as people have them, and samples that training never draws.
. "$(dirname "$0")/lib.sh"

# pictures FOLDER COUNT CHANNELS FIRST
pictures() {
	mkdir -p "$1"
	local i
	for ((i = 0; i < $2; i++)); do "$PROBE" png "$1/$i.png" 16 16 "$3" $(($4 + i)); done
}
# setting RUN KEY VALUE: config.ini says so.
setting() { grep -qx "$2 =${3:+ $3}" "$1/config.ini" || fail "$1/config.ini does not say $2 = $3"; }

pictures root/trainA 12 1 0
pictures root/Train_B 12 3 20
pictures root/testA 6 1 40
pictures root/val_b 8 3 60

title "a root with test halves"
does train --dataroot root "${images[@]}" --out run
setting run source "$PWD/root/trainA"
setting run target "$PWD/root/Train_B"
setting run test-source "$PWD/root/testA"
setting run test-target "$PWD/root/val_b"
warns "measured on held-out samples: source 6 samples of root/testA; target 8 samples of root/val_b"
says 'what was learned, on held-out samples'
says 'inputs measured  *4$' # half of the 8 targets: the others are the floor's
does info run/model.h5 --json
says "\"source/test\":\"$PWD/root/testA\".*\"target/test\":\"$PWD/root/val_b\""
does train --dataroot root --direction BtoA "${images[@]}" --out back
setting back source "$PWD/root/Train_B"
setting back test-source "$PWD/root/val_b"
does eval run --count 4 --samples 8 --json
json out data=held-out n=4
cp out own
does eval run --count 4 --samples 8 --json --source root/testA --target root/val_b
json out data=given
diff <(sed 's/"data":"[a-z-]*",//' own) <(sed 's/"data":"[a-z-]*",//' out) || fail "eval RUN measures other pictures"
does train --resume --out run --steps 8
does train --dataroot root --resume --out run
does train --config run/config.ini --out again --dry-run
refuses 2 'inside' train --dataroot root "${images[@]}" --out root/testA/run
sed -i 's/^test-source = .*/test-source =/' back/config.ini
does train --resume --out back # six pictures are too few to withhold any: nothing changes

title "a root named as one set"
does train --source root --target root "${images[@]}" --plan
warns 'root holds two sides .* --dataroot'
[[ $(grep -c 'holds two sides' err) == 1 ]] || fail "said twice"
does train --source root/trainA --target root/trainA "${images[@]}" --plan
! grep -q 'holds two sides' err || fail "a half is no root"

title "roots that lack a half"
mkdir -p lacking/trainA empty
refuses 2 'no folder trainB (or train_B, train/B, B); found trainA' train --dataroot lacking "${images[@]}" --out no
refuses 2 'found no folders' train --dataroot empty "${images[@]}" --out no
pictures lacking/trainB 4 3 0
refuses 2 'lacking/trainA: holds no files' train --dataroot lacking "${images[@]}" --out no
missing no

title "of two halves of one meaning the first that holds pictures"
cp -r root two
mv two/testA two/valA
mkdir two/testA
does train --dataroot two "${images[@]}" --plan
warns '^two/testA holds no pictures; valA is taken in its place$'
says 'held out: source 6 samples of two/valA'
echo notes >two/testA/notes.txt
does train --dataroot two "${images[@]}" --plan
says 'held out: source 6 samples of two/valA'
pictures two/testA 7 1 40
does train --dataroot two "${images[@]}" --plan
! grep -q 'in its place' err || fail "both hold pictures"
says 'held out: source 7 samples of two/testA'
rm two/testA/* two/valA/*
does train --dataroot two "${images[@]}" --plan
warns '^two/testA holds nothing, and counts as not there$'
mv two/trainA two/A
mkdir two/trainA
does train --dataroot two "${images[@]}" --plan
warns '^two/trainA holds no pictures; A is taken in its place$'
says '^source  *two/A (folder, 12 samples'

title "samples withheld from training"
"$PROBE" vectors a.npy 200 2
"$PROBE" vectors b.npy 400 2
does train --source a.npy --target b.npy "${points[@]}" --out points
warns 'measured on held-out samples: source 20 of 200 samples, withheld from training; target 40 of 400'
setting points withhold 1024
does info points/model.h5 --json
says '"source/count":200,"source/withheld":20,"source/withheld_of":200,.*"target/withheld":40,'
does eval points --json
json out data=held-out n=20
does train --source a.npy --target b.npy "${points[@]}" --out half --steps 3
does train --resume --out half --steps 6
does train --source a.npy --target b.npy "${points[@]}" --schedule-steps 3 --out whole
same half/model.h5 whole/model.h5
"$PROBE" vectors a.npy 210 2
refuses 2 'cannot be told' eval points
"$PROBE" vectors a.npy 200 2
does train --source a.npy --target b.npy "${points[@]}" --plan
says 'measured  *held out: source 20 of 200 samples'
does train --source a.npy --target b.npy "${points[@]}" --test-target b.npy --out tested
warns 'target 400 samples of b.npy'
does eval tested --json
json out data=held-out n=20
sed -i 's/^test-target = .*/test-target =/' tested/config.ini
refuses 2 'withholds 40 samples' train --resume --steps 9 --out tested

title "a run from before samples were withheld goes on to the same bits"
does train --source a.npy --target b.npy "${points[@]}" --withhold 0 --steps 3 --out old
warns 'measured on samples that were trained on: source samples that are trained on (--withhold 0)'
! grep -q 'held.out' out old/report.html old/log.txt || fail "nothing is held out"
sed -i '/^withhold/d;/^test-/d' old/config.ini
does train --resume --steps 6 --out old
does train --source a.npy --target b.npy "${points[@]}" --withhold 0 --schedule-steps 3 --out new
same old/model.h5 new/model.h5
differ old/model.h5 whole/model.h5
refuses 2 withhold train --resume --steps 9 --out old --withhold 9
does eval old --json
json out data=trained-on
does eval old
says 'trained-on samples: none were withheld'

title "--from takes data along as a whole"
does train --from run --steps 2 --out next
setting next test-target "$PWD/root/val_b"
does train --from run --source root/trainA --steps 2 --out next2
setting next2 test-source ''
setting next2 test-target "$PWD/root/val_b"
does train --from old --steps 2 --out next3 # whose networks have seen all of them
warns 'source samples that are trained on'
does train --from old --source a.npy --target b.npy --steps 2 --out next4
warns 'source 20 of 200 samples, withheld'

title "a root that has moved, and its test halves with it"
cp -r root moved
does train --resume --out next --dataroot moved --steps 4
setting next target "$PWD/moved/Train_B"
setting next test-target "$PWD/moved/val_b"
warns "measured on $PWD/moved/val_b from here on; that it is the same set as $PWD/root/val_b is not checked"
