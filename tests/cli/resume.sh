#!/usr/bin/env bash
# train --resume: a run in pieces is the run in one piece, bit for bit.
. "$(dirname "$0")/lib.sh"

# Long enough for a signal to hit the middle, on any machine.
steps=250
often=(--steps $steps --snapshot-every 40 --sample-every 200 --log-every 5 --keep 100)

config_def=$(dirname "$0")/../../src/config/config.def

records() { cat "$1/metrics.jsonl" 2>/dev/null | wc -l; }

# amid RUN PID: wait until a run under way has come some steps further, or has ended.
amid() {
	local goal=$(($(records "$1") + 1 + RANDOM % 15))
	while kill -0 "$2" 2>/dev/null && (($(records "$1") < goal)); do sleep 0.005; done
}

# interrupted SIGNAL CODE RUN ARGUMENTS...: train until a signal comes.
interrupted() {
	local signal=$1 expected=$2 run=$3 code=0
	shift 3
	"$OTPLAN" train "$@" --out "$run" >out 2>err </dev/null &
	local pid=$!
	amid "$run" $pid
	kill -s "$signal" $pid 2>/dev/null || true
	{ wait $pid || code=$?; } 2>/dev/null
	# A machine fast enough to be done already has nothing to show here, but nothing to hide either.
	[[ $code == "$expected" || $code == 0 ]] || fail "exit code $code after SIG$signal, expected $expected"
}

newest() { find "$1/checkpoints" -name 'step-*.h5' | sort | tail -n 1; }

equal_states() {
	"$PROBE" state "$(newest "$1")" "$(newest "$2")" || depth=${from:-1} fail "$2 has another state than $1"
	same "$1/samples/step-0000$steps.png" "$2/samples/step-0000$steps.png"
}

# Models hold their settings too, so these must be equal as well.
equal_runs() {
	from=2 equal_states "$1" "$2"
	same "$1/model.h5" "$2/model.h5"
	if [[ -e $1/model-best.h5 ]]; then same "$1/model-best.h5" "$2/model-best.h5"; else missing "$2/model-best.h5"; fi
}

# The last record of each step that both kinds of run log, without times.
history() {
	awk -F '[:,]' '{ step = $2 } step % 5 == 0 {
		sub(/"time_s":[^,]*,/, "")
		sub(/,"images_per_s":.*/, "")
		last[step] = $0
	} END { for (step in last) print last[step] }' "$1/metrics.jsonl" | sort
}

title "Ctrl-C, then --resume"
setup=("${digits[@]}" "${images[@]}" "${often[@]}")
does train "${setup[@]}" --out whole
interrupted INT 130 part "${setup[@]}"
exists part/model.h5 "$(newest part)"
tidy
warns 'interrupted at step'
does train --resume --out part
equal_runs whole part
same <(history whole) <(history part)

title "SIGTERM is as good"
interrupted TERM 143 term "${setup[@]}"
does train --resume --out term
equal_runs whole term

title "killed, several times"
interrupted KILL 137 killed "${setup[@]}"
for _ in 1 2; do
	"$OTPLAN" train --resume --out killed >out 2>err </dev/null &
	pid=$!
	amid killed $pid
	kill -s KILL $pid 2>/dev/null || true
	{ wait $pid || true; } 2>/dev/null
done
# A line torn by the kill is no reason to give up.
printf '{"step":3,"ti' >>killed/metrics.jsonl
: >killed/checkpoints/step-0000001.h5.tmp-1
does train --resume --out killed
equal_runs whole killed
same <(history whole) <(history killed )

title "before the first checkpoint"
interrupted KILL 137 early "${digits[@]}" "${images[@]}" "${often[@]}" --snapshot-every 1000000
does train --resume --out early
equal_states whole early

title "everything that draws, with every count of workers"
all=("${digits[@]}" "${images[@]}" "${often[@]}" --r1-every 3 --k-transport 2 --k-potential 2 --latent 4 --flip
	--smoothing vp --warmup 5)
does train "${all[@]}" --workers 0 --out all
for workers in 0 1 3; do
	interrupted INT 130 all$workers "${all[@]}" --workers $workers
	does train --resume --out all$workers --workers $(((workers + 1) % 4))
	equal_states all all$workers
done

title "on another number of threads"
interrupted INT 130 alone "${setup[@]}" # in two parts, one for each of two threads
does train --resume --out alone --threads 1
equal_runs whole alone
does train "${setup[@]}" --parts 3 --out thirds
interrupted INT 130 thirds1 "${setup[@]}" --parts 3 --threads 1
does train --resume --out thirds1 --threads 4
equal_runs thirds thirds1
grep -qx 'parts = 3' thirds1/config.ini || fail "the parts are not named"

title "a run from before there were parts goes on in one for each of its threads"
for parts in 2 3; do
	interrupted INT 130 old$parts "${setup[@]}" --parts $parts
	sed -i -e '/^parts = /d' -e "s/^threads = .*/threads = $parts/" old$parts/config.ini
	does train --resume --out old$parts --threads 1
	if ((parts > 2)); then warns 'summed pairwise'; else ! grep -q pairwise err || fail "two sum alike"; fi
done
equal_runs whole old2
equal_runs thirds old3

title "vectors, and data with an end"
"$PROBE" vectors a.npy 53 3
"$PROBE" vectors b.npy 31 3
finite=(--source a.npy --target b.npy "${points[@]}" "${often[@]}" --sigma-end auto)
does train "${finite[@]}" --out finite
interrupted INT 130 finite1 "${finite[@]}"
does train --resume --out finite1
equal_runs finite finite1

title "figures and verdicts go on from the checkpoint, and are measured at the same steps"
measured=("${lines[@]}" "${points[@]}" "${often[@]}" --batch 256 --tau 1000)
does train "${measured[@]}" --out seen
[[ $(grep -o '"measured_at":[0-9]*' seen/metrics.jsonl | uniq | wc -l) == 5 ]] || fail "measured at 1, 70, 140, 210 and 250"
grep -q 'identity collapse' seen/metrics.jsonl || fail "a verdict was to be raised"
interrupted KILL 137 seen1 "${measured[@]}"
does train --resume --out seen1
equal_runs seen seen1
same <(history seen) <(history seen1)

title "a finished run stays as it is"
cp -r part before
does train --resume --out part
warns 'done already'
for path in config.ini model.h5 metrics.jsonl samples/step-0000$steps.png; do same before/$path part/$path; done
diff <(ls before/checkpoints) <(ls part/checkpoints) || fail "checkpoints changed"

title "what may be said again, and what may not"
does train "${digits[@]}" "${images[@]}" --out short
does train --resume --out short --log-every 1 --keep 1 --workers 2 --threads 1 --parts 2 --data-on-device off --seed 1 --batch_size 4 "${digits[@]}"
for change in --batch=5 --seed=9 --lr_g=1e-5 --schedule-steps=7 --flip --latent=3 --parts=1 --preset=32; do
	refuses 2 "${change%=*}" train --resume --out short "$change"
	warns 'started with'
done
refuses 2 'synth:digits-hsv: is not the data this run was trained on' train --resume --out short --source synth:digits-hsv
refuses 2 --nonsense train --resume --out short --nonsense 3

title "a file of settings is held to the run like the command line"
cat >said.ini <<-END
	preset = quickstart
	batch_size = 4
	image-size = 0
	channels = 0
	parts = 0
	threads = 0
	schedule-steps = 0
	sample-every = 3
END
does train --resume --out short --config said.ini
grep -qx 'sample-every = 3' short/config.ini || fail "what the machine may change does not come from the file"
does train --resume --out short --config said.ini --sample-every 4
grep -qx 'sample-every = 4' short/config.ini || fail "the command line does not override the file"
does train --resume --out short --config short/config.ini
for line in 'batch = 5' 'seed = 9' 'lr_g = 0.25' 'parts = 1' 'sigma-end = 0.2'; do
	echo "$line" >other.ini
	key=${line%% *}
	refuses 2 "other.ini: $line, but the run was started with $key = " train --resume --out short --config other.ini
done
echo 'source = synth:digits-hsv' >other.ini
refuses 2 'synth:digits-hsv: is not the data this run was trained on' train --resume --out short --config other.ini
refuses 2 nowhere.ini train --resume --out short --config nowhere.ini
echo 'bacth = 4' >typing.ini
refuses 2 batch train --resume --out short --config typing.ini

title "config.ini leaves nothing open"
# open_options RUN KIND...: lines of config.ini that would be settled again; sizes mean nothing to vectors.
open_options() {
	local key
	sed -n 's/^\(OPEN\|SIZE\)("\([^"]*\)",.*/\2/p' "$config_def" | grep -vx crop >keys # 0: no crops
	[[ $(wc -l <keys) -ge 5 ]] || fail "config.def has few options that may be left open"
	while read -r key; do grep -x "$key = 0" "$1/config.ini"; done <keys
	grep -E '= auto$|^(preset|source|target) =$' "$1/config.ini"
}
does train "${digits[@]}" --width 8 --multipliers 1,1 --potential-width 8 --potential-multipliers 1,2 --batch 4 --steps 2 \
	--sigma-end 0.1 --out settled
[[ -z $(open_options settled) ]] || fail "left open: $(open_options settled)"
grep -qx 'image-size = 16' settled/config.ini && grep -qx 'channels = 3' settled/config.ini || fail "the form of the images"
grep -qx "threads = $(nproc)" settled/config.ini || fail "threads"
grep -qx 'data-on-device = off' settled/config.ini || fail "a CPU's data lie with the host"
does train --source a.npy --target b.npy --width 8 --blocks 1 --potential-width 8 --potential-blocks 1 --batch 8 \
	--steps 2 --sigma-end auto --start aimed --out settled2
[[ $(open_options settled2 | sort | xargs) == "channels = 0 image-size = 0" ]] || fail "left open: $(open_options settled2)"

title "a resume on another machine chooses again"
sed -i -e 's/^threads = .*/threads = 1000/' -e 's/^data-on-device = .*/data-on-device = on/' settled/config.ini
does train --resume --out settled --steps 3
warns "had 1000 threads; it goes on with $(nproc)"
grep -qx "threads = $(nproc)" settled/config.ini || fail "more threads than cores"
grep -qx 'data-on-device = on' settled/config.ini || fail "data may lie with a device that is the host"
does train --resume --out settled --steps 4 --threads 1 --device auto
grep -qx 'threads = 1' settled/config.ini || fail "threads as said"
grep -qx 'data-on-device = off' settled/config.ini || fail "another device chooses again where data lie"
does train --resume --out settled --steps 5 --threads 0
grep -qx "threads = $(nproc)" settled/config.ini || fail "--threads 0 is one for each core"

title "a longer run: the schedule keeps its length"
held=("${digits[@]}" "${images[@]}" --anneal-fraction 1 --r1-end 0.01 --decay linear --decay-from 0.2 --seed 4)
does train "${held[@]}" --steps 60 --schedule-steps 40 --out planned
warns 'the schedules take 40 steps'
does train "${held[@]}" --steps 40 --out extended
does train --resume --out extended --steps 60
warns 'the schedules take 40 steps'
"$PROBE" state {planned,extended}/checkpoints/step-0000060.h5 || fail "an extended run is another run"
same {planned,extended}/model.h5
same {planned,extended}/config.ini
does train --resume --out extended
warns 'done already: all 60 steps'
refuses 2 'beyond --steps' train --resume --out extended --steps 59
does train "${held[@]}" --steps 60 --out other
! "$PROBE" state {planned,other}/checkpoints/step-0000060.h5 || fail "the schedule's length changes nothing"

title "settings edited between two parts of a run"
for line in 's/^lr_g = .*/lr_g = 0.25/' 's/^r1 = .*/r1 = 7/' 's/^batch = .*/batch = 5/' 's/^anneal = .*/anneal = linear/'; do
	cp short/config.ini kept.ini
	sed -i "$line" short/config.ini
	new=${line#*/*/} && new=${new%/}
	refuses 2 "short/config.ini: $new, but the run was trained with ${new%% *} = " train --resume --out short --steps 9
	cp kept.ini short/config.ini
done
does train --resume --out short --steps 9

title "from another folder"
mkdir elsewhere-run below
"$PROBE" vectors a.npy 53 3
does train --source a.npy --target './b.npy?part=1/2' "${points[@]}" --out relative
grep -qx "source = $PWD/a.npy" relative/config.ini || fail "the source's path is relative"
grep -qx "target = $PWD/b.npy?part=1/2" relative/config.ini || fail "the target's path is relative"
does train --resume --out relative --source a.npy --target 'b.npy?part=1/2' --steps 8
cd below
does train --resume --out ../relative --steps 9
does eval ../relative --count 8
refuses 2 'a.npy: no such file' train --resume --out ../relative --source a.npy
cd ..

title "data that have moved"
cp -r relative followed
cp relative/config.ini before.ini
mkdir new-place
mv a.npy b.npy new-place
refuses 2 'a.npy: no such file or folder; --source says where it lies now' train --resume --out followed --steps 10
refuses 2 'b.npy?part=1/2: no such file or folder; --target says where' train --resume --out followed --steps 10 \
	--source new-place/a.npy
"$PROBE" vectors other.npy 54 3
refuses 2 'other.npy: is not the data this run was trained on' train --resume --out followed --steps 10 \
	--source other.npy --target 'new-place/b.npy?part=1/2'
refuses 2 'is not the data this run was trained on' train --resume --out followed --steps 10 \
	--source new-place/a.npy --target 'new-place/b.npy?part=2/2'
same followed/config.ini before.ini
does train --resume --out followed --steps 10 --source new-place/a.npy --target 'new-place/b.npy?part=1/2'
does train --resume --out followed --steps 11
mv new-place/*.npy .

title "and from another folder, a run of an earlier version"
sed -i "s|^source = .*|source = a.npy|" relative/config.ini # as earlier versions wrote it
does train --resume --out relative --steps 10

title "--dataroot again"
mkdir -p root/train_A root/train_B
for i in 0 1 2 3 4 5; do
	"$PROBE" png root/train_A/$i.png 16 16 3 $i
	"$PROBE" png root/train_B/$i.png 16 16 3 $((i + 6))
done
does train --dataroot root "${images[@]}" --out rooted
does train --dataroot root --resume --out rooted
cp -r root elsewhere
refuses 2 'direction: needs --dataroot' train --direction BtoA --resume --out rooted
refuses 2 'data: needs --task' train --data root --resume --out rooted
does train --dataroot elsewhere --resume --out rooted --steps 8
grep -qx "source = $PWD/elsewhere/train_A" rooted/config.ini || fail "the source is not where it lies now"
refuses 2 'is not the data this run was trained on' train --dataroot elsewhere --direction BtoA --resume --out rooted --steps 9
"$PROBE" png elsewhere/train_A/0.png 16 16 3 50
refuses 2 'is not the data this run was trained on' train --resume --out rooted --steps 9
refuses 2 nowhere train --dataroot nowhere --resume --out rooted
