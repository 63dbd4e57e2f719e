#!/usr/bin/env bash
# Pages: what is shown is the same everywhere, they can be made again from a run's folder, and are there after an end
# of any kind.
. "$(dirname "$0")/lib.sh"

page() { # RUN PATTERN...: each stands in its page
	local run=$1 pattern
	shift
	exists "$run/report.html" "$run/curves.svg"
	[[ $(tail -n 1 "$run/report.html") == '</body></html>' ]] || fail "$run/report.html is cut short"
	for pattern in "$@"; do
		grep -q -e "$pattern" "$run/report.html" || fail "$run/report.html does not say '$pattern'"
	done
}
pages() { find "$1" -name 'step-*.png' | wc -l; }

title "a finished run: what, with what, how long, and what came of it"
does train "${digits[@]}" "${images[@]}" --precision f32 --sample-every 3 --log-every 2 --out run # as eval computes
says '^report   run/report.html$'
says '^verdict  too few steps to judge: measured 2 of the 3 times'
page run '<p class="state">Finished: 6 steps.</p>' '<dt>Source</dt><dd>synth:digits (generated)</dd>' \
	'<dt>Target</dt><dd>synth:digits-isoluminant (generated)</dd>' '<dt>Trained as</dt><dd>pictures of 16 x 16' \
	'<dt>Preset</dt><dd>quickstart' '<dt>Precision</dt><dd>' '<dt>Device</dt><dd>CPU, 2 threads' '<dt>Duration</dt>' \
	'<h2>What was learned</h2>' '<figcaption>step 3</figcaption>' 'real targets' 'name="viewport"' '>floor</text>'
size 542 146 3 run/samples/targets.png # two rows of eight
for key in about figures transport_cost unit; do grep -q "\"$key\"" run/summary.json || fail "summary.json lacks $key"; done

title "one figure, one name, one number"
does eval run --count 16 --samples 16
grep -q '^distance to identity, rms of T - x, per value ' out || fail "eval says it otherwise"
value=$(awk '/^distance to identity/ { print $NF }' out)
page run "distance to identity <span class=\"unit\">rms of T - x, per value</span></td><td>$value</td>" \
	'>distance to identity</tspan>'
grep -q '"identity_distance":[0-9]' run/metrics.jsonl || fail "the metrics lack it"

title "made again, from the folder alone"
cp run/report.html first.html
cp run/curves.svg first.svg
rm run/report.html run/curves.svg
does report run/
says '^report   run//report.html$'
same run/report.html first.html
same run/curves.svg first.svg
rm run/summary.json run/samples/*.png # as a run from before these
does report run
page run '<dt>Source</dt><dd>synth:digits</dd>' 'Measured at step 6'
printf '{"about": 7, "fig' >run/summary.json
does report run
page run 'Measured at step 6'
echo '{"step":8,"veradicts":' >>run/metrics.jsonl # torn, as while it is written
does report run

title "nothing to report"
refuses 2 'holds no run' report nowhere
mkdir empty
refuses 2 'holds no run' report empty
refuses 2 usage report
refuses 2 'one argument too many' report run run
: >empty/config.ini
echo 'nonsense = 1' >empty/config.ini
refuses 2 nonsense report empty
missing empty/report.html empty/curves.svg
does train "${lines[@]}" "${points[@]}" --out fresh
rm fresh/metrics.jsonl
does report fresh
page fresh

title "an end by a signal, by --max-time, by a failure"
long=("${lines[@]}" "${points[@]}" --steps 100000000 --snapshot-every 100000000 --sample-every 100000000 --log-every 20)
for each in INT:130 TERM:143; do
	rm -rf stopped
	"$OTPLAN" train "${long[@]}" --out stopped >out 2>err </dev/null &
	pid=$!
	while kill -0 $pid && [[ $(grep -c . stopped/metrics.jsonl 2>/dev/null) -lt 2 ]]; do sleep 0.05; done
	does report stopped # while it trains
	page stopped 'In training'
	kill -s "${each%:*}" $pid
	code=0
	{ wait $pid || code=$?; } 2>/dev/null
	[[ $code == "${each#*:}" ]] || fail "exit code $code"
	tidy
	page stopped 'Not finished' '<h2>Curves</h2>' '<h2>Samples</h2>'
	[[ $(pages stopped/samples) == 1 ]] || fail "no picture of where it stopped"
done
exits 4 train --resume --out stopped --max-time 2s
says '^report   stopped/report.html$'
page stopped 'Not finished'
exits 1 train "${lines[@]}" "${points[@]}" --lr_g 5 --rollbacks 0 --steps 4000 --log-every 1 --out broken
complains 'nothing was learned before'
page broken 'Not finished' '<h2>Curves</h2>'
