#!/usr/bin/env bash
# Numbers that break: the update is refused, the run goes back to a checkpoint with half the rates, and at last stops.
. "$(dirname "$0")/lib.sh"

newest() { find "$1/checkpoints" -name 'step-*.h5' | sort | tail -n 1; }
rollbacks() { cat "$1/metrics.jsonl" 2>/dev/null | grep -c '"rollback":' || true; }
# all_finite RUN: whatever was saved; the model is the last checkpoint's average, if that is of any step.
all_finite() {
	local path
	for path in "$1"/checkpoints/step-*.h5; do "$PROBE" finite "$path" || fail "$path is not finite"; done
	[[ $path == */step-0000000.h5 ]] || exists "$1/model.h5"
}

title "absurd rates: three rollbacks, then a stop with advice that holds"
for rates in '--lr_g 5' '--lr_g 3' '--lr_d 10' '--lr_g 10 --lr_d 10'; do
	# shellcheck disable=SC2086
	exits 1 train "${lines[@]}" "${points[@]}" --steps 200 --snapshot-every 50 $rates --out absurd
	[[ $(grep -c '^rollback [123] of 3: at step [0-9]* the gradient of the ' err) == 3 ]] || fail "$rates: not three rollbacks"
	complains 'training broke down at step '
	warns 'after 3 rollbacks'
	grep -q 'checkpoint and the model of step\|nothing was learned before' err || fail "what is left is not said"
	[[ $(rollbacks absurd) == 3 ]] || fail "$rates: metrics.jsonl has not three records"
	grep '"rollback":' absurd/metrics.jsonl >records
	json records step rollback from_step rate_factor reason
	tail -n 1 records >last
	json last rollback=3 rate_factor=0.125
	does info "$(newest absurd)" --json
	grep -q '"training/rate_factor":[[:space:]]*0.125' out || fail "the factor is not in the checkpoint"
	all_finite absurd
	advice=$(sed -n 's/.*in another --out, with //p' <(exits 1 train --resume --out absurd; cat err))
	[[ $advice == '--lr_g '*' --lr_d '* ]] || fail "the advice is no options: $advice"
	# shellcheck disable=SC2086
	does train "${lines[@]}" "${points[@]}" --steps 200 $rates $advice --out advised
	! grep -q '^rollback' err || fail "the advice does not help"
	rm -rf absurd advised
done

title "none wanted"
exits 1 train "${lines[@]}" "${points[@]}" --lr_g 5 --rollbacks 0 --out none
complains 'nothing was learned before'
! grep -q '^rollback' err || fail "rolled back"
refuses 2 --rollbacks train "${lines[@]}" "${points[@]}" --rollbacks -1 --out never

title "more of them let a stopped run go on"
exits 1 train "${lines[@]}" "${points[@]}" --lr_g 5 --steps 20 --rollbacks 1 --out more
exits 0 train --resume --out more --rollbacks 30
warns '^rollback 2 of 30: '
all_finite more

title "killed between a rollback and the next checkpoint, and resumed: the same bits"
broken=("${lines[@]}" "${points[@]}" --lr_g 0.2 --lr_d 0.2 --steps 300 --snapshot-every 80 --sample-every 20 --keep 100)
exits 0 train "${broken[@]}" --out whole
(($(rollbacks whole) == 2)) || fail "two rollbacks were meant, one of them from a checkpoint: $(rollbacks whole)"
for count in 1 2; do
	"$OTPLAN" train "${broken[@]}" --out part$count >out 2>err </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null && (($(rollbacks part$count) < count)); do sleep 0.005; done
	kill -s KILL $pid 2>/dev/null || true
	{ wait $pid || true; } 2>/dev/null
	# The checkpoint after those of steps 0 and 80; a machine too fast to be hit shows nothing here.
	[[ ! -e part$count/checkpoints/step-0000300.h5 ]] || echo "   (not hit)"
	exits 0 train --resume --out part$count --log-every 7
	"$PROBE" state "$(newest whole)" "$(newest part$count)" || fail "another state after rollback $count"
	same {whole,part$count}/model.h5
	same {whole,part$count}/samples/step-0000300.png
done

title "curves are those of what holds"
"$PROBE" vectors a.npy 53 3
grep -v '"rollback":' whole/metrics.jsonl | tail -n 1 >last
json last step=300 lr_g lr_d
exists whole/report.html

title "--clip-norm: no bound, a bound that is never met, a bound that is"
plain=("${lines[@]}" "${points[@]}" --steps 30 --snapshot-every 10)
does train "${plain[@]}" --out free
does train "${plain[@]}" --clip-norm 1e9 --out high
does train "${plain[@]}" --clip-norm 0.01 --out low
"$PROBE" state free/checkpoints/step-0000030.h5 high/checkpoints/step-0000030.h5 || fail "a bound that is never met changes the run"
! "$PROBE" state free/checkpoints/step-0000030.h5 low/checkpoints/step-0000030.h5 || fail "a bound changes nothing"
does train "${plain[@]}" --clip-norm 0.01 --threads 1 --parts 2 --out low1
"$PROBE" state low/checkpoints/step-0000030.h5 low1/checkpoints/step-0000030.h5 || fail "threads change what is clipped"
rm low1/checkpoints/step-0000030.h5
does train --resume --out low1
"$PROBE" state low/checkpoints/step-0000030.h5 low1/checkpoints/step-0000030.h5 || fail "a resumed run clips otherwise"
refuses 2 --clip-norm train --resume --out low --clip-norm 0.02
