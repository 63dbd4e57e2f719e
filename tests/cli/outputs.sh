#!/usr/bin/env bash
# What may be written where, and what becomes of pictures that cannot be decoded:
# no output, no neighbour in their place, a name, a count and exit code 3.
. "$(dirname "$0")/lib.sh"

manifest=.otplan-outputs.jsonl
# made FOLDER NAME...: exactly these lie there beside a manifest that names them all.
made() {
	local folder=$1 name
	shift
	files "$folder" "$@"
	exists "$folder/$manifest"
	for name; do
		grep -qF "\"name\":\"$name\"" "$folder/$manifest" || fail "the manifest does not name $name"
	done
	[[ $(wc -l <"$folder/$manifest") == $# ]] || fail "the manifest names other files"
}
# counts N ARGUMENTS...: done, but N pictures could not be decoded, and it says so.
counts() {
	local count=$1
	shift
	from=2 exits 3 "$@"
	warns "$count pictures\\? could not be decoded"
}

# Its noise can be seen after few steps already.
does train "${digits[@]}" "${images[@]}" --latent 3 --condition-noise off --sigma-end 0.4 --out run
mkdir good set
for i in 1 2 3 4 5; do "$PROBE" png good/$i.png 16 16 3 $i; done
cp good/* set
cut_to good/2.png set/2.png $(($(bytes good/2.png) / 2)) # breaks when it is decoded
cut_to good/4.png set/4.png 20                           # breaks when it is looked at
does translate run good whole

title "a broken picture in the middle has no output, in memory and streamed"
for how in set 'set?keep=off'; do
	rm -rf out.d
	counts 2 translate run "$how" out.d
	made out.d 1.png 3.png 5.png
	warns set/2.png
	warns set/4.png
	[[ $(grep -c set/2.png err) == 1 ]] || fail "named more than once"
	for i in 1 3 5; do same out.d/$i.png whole/$i.png; done
	counts 2 translate run "$how" out.d3 --samples 3
	made out.d3 {1,3,5}_{0,1,2}.png
	rm -r out.d3
done
counts 2 translate run 'set?keep=off' single --threads 1
diff -r out.d single >/dev/null || fail "another number of threads, other outputs"

title "files that are no pictures never change the code"
mkdir mixed
cp good/* mixed
echo text >mixed/notes.txt
echo none >mixed/README
does translate run mixed fine
made fine {1,2,3,4,5}.png

title "a broken picture has no row in an array"
does translate run 'good?keep=off' whole.npy
does translate run good whole.h5
counts 2 translate run 'set?keep=off' rows.npy
mkdir three
cp good/{1,3,5}.png three
does translate run three three.npy
same rows.npy three.npy
for ending in npz h5; do
	counts 2 translate run 'set?keep=off' rows.$ending
	does translate run three three.$ending
	does info rows.$ending --json
	json out count=3
	same rows.$ending three.$ending # HDF5 holds names too
done
counts 2 translate run set rows2.h5 --samples 2
"$PROBE" names rows.h5 1.png 3.png 5.png
"$PROBE" names rows2.h5 1.png 3.png 5.png
"$PROBE" names whole.h5 {1,2,3,4,5}.png
does translate run 'synth:digits?limit=2' generated.h5
does translate run 'synth:digits?limit=2' made/folder/generated.npy
"$PROBE" names generated.h5 000000 000001

title "nothing but broken pictures is bad input"
mkdir bad
cp set/2.png bad
exits 2 translate run bad none
complains 'none of its images can be decoded'
exits 2 translate run 'bad?keep=off' none
complains 'none of its images can be decoded'
exits 2 translate run set/2.png none.png
missing none none.png

title "export and eval leave them out and count them"
for how in set 'set?keep=off'; do
	rm -rf fid
	counts 2 export run "$how" fid --for fid --target good --samples 2
	says 'exported 6 generated and 5 reference'
	does export run three fid3 --for fid --target good --samples 2
	same fid/generated.npz fid3/generated.npz
	diff -r fid/generated fid3/generated || fail "other pictures"
	tr -d ' \t\n' <fid/manifest.json >manifest.txt
	grep -qF '"files":["1.png","3.png","5.png"]' manifest.txt || fail "manifest.json does not name the rows"
	rm -r fid3
	counts 2 export run good fidt --for fid --target "$how"
	says 'exported 5 generated and 3 reference'
	rm -r fidt
	counts 2 eval run --source "$how" --target good --json --samples 2
	cp out figures
	does eval run --source three --target good --json --samples 2
	same figures out
	counts 2 eval run --source good --target "$how" --json --samples 2
	counts 4 eval run --source "$how" --target "$how" --samples 2
done

title "eval --truth pairs what is left by name"
mkdir truth truth3
cp whole/*.png truth
cut_to whole/5.png truth/5.png $(($(bytes whole/5.png) / 2))
cp whole/{1,3}.png truth3
rm -f three/5.png
does eval run --source three --truth truth3 --json
cp out expected
counts 3 eval run --source 'set?keep=off' --truth truth --json
same out expected
does translate run good truth.npy
exits 2 eval run --source set --truth truth.npy
complains 'belong together'

title "training goes on, and its code is 0"
exits 0 train --source 'set?keep=off' --target good "${images[@]}" --out neighbours
exits 0 train --source set --target good "${images[@]}" --out without

title "no output replaces an input"
mkdir photos
"$PROBE" png photos/p.png 16 16 3 1
"$PROBE" png photos/q.jpg.png 16 16 3 2
cp photos/p.png p.kept
model=$PWD/run
(
	cd photos
	refuses 2 'input itself' translate "$model" p.png .
	refuses 2 'input itself' translate "$model" p.png . --overwrite
	refuses 2 'input itself' translate "$model" p.png p.png --overwrite
	refuses 2 'input itself' translate "$model" 'p.png?keep=off' ../photos/p.png
	rm -f out err
)
same photos/p.png p.kept
ln photos/p.png hard.png
ln -s photos/p.png soft.png
ln -s photos lane
refuses 2 'input itself' translate run photos/p.png hard.png --overwrite
refuses 2 'input itself' translate run photos/p.png soft.png --overwrite
refuses 2 'input itself' translate run soft.png photos/p.png --overwrite
refuses 2 'input itself' translate run photos/p.png lane --overwrite
mkdir linked
ln -s ../photos/p.png linked/p.png
refuses 2 'input itself' translate run linked photos --overwrite
"$PROBE" images stack.npy 3 16 16 3
for spec in stack.npy 'stack.npy?limit=2'; do # after the line that says how the array is read
	exits 2 translate run "$spec" ./stack.npy --overwrite
	complains 'input itself'
done
cp run/model.h5 model.h5
exits 2 translate model.h5 stack.npy model.h5 --overwrite
complains 'input itself'
exits 2 translate run stack.npy run/model.h5 --overwrite
complains 'input itself'
same model.h5 run/model.h5
same photos/p.png p.kept
missing photos/$manifest

title "no output lies inside what is read"
mkdir -p tree/below elsewhere/more
cp good/1.png tree/below
cp good/2.png elsewhere/more
ln -s ../elsewhere tree/link
ln -s tree/below short
for place in tree tree/out tree/below/out tree/new/deep tree/../tree/out lane/../tree/out short short/out new/../tree/out \
	elsewhere/more/out tree/link/more/out "$PWD/tree/out"; do
	refuses 2 input translate run tree "$place" --overwrite
	refuses 2 input translate run 'tree?limit=1' "$place/" --overwrite
	refuses 2 input translate run tree "$place/o.npy" --overwrite
done
for place in tree tree/below/out elsewhere/more/out; do
	refuses 2 input export run tree "$place" --for fid --target good --overwrite
	refuses 2 input export run good "$place" --for fid --target tree --overwrite
	refuses 2 --out train --source tree --target good "${images[@]}" --out "$place"
	refuses 2 --out train --source good --target tree "${images[@]}" --out "$place"
done
files tree below/1.png
files elsewhere more/2.png
missing new
does translate run tree tree-out # a name that only begins alike
made tree-out below/1.png link/more/2.png
# Outputs with sub-folders may meet an input's folder, which is no folder of outputs.
mkdir -p in/in
cp good/1.png in/in
refuses 2 input translate run in . --overwrite
files in in/1.png

title "what otplan made is replaced, anything else by --overwrite alone"
does translate run good again
cp again/3.png first.png
does translate run good again --seed 7
differ again/3.png first.png
made again {1,2,3,4,5}.png
cp -r again copied # the digest counts, no time
does translate run good copied
same copied/3.png first.png
printf x >>again/5.png
cp -r again kept
refuses 2 'again/5.png: was changed' translate run good again
diff -r kept again || fail "something was written before all was checked"
does translate run good again --overwrite
same again/5.png whole/5.png
does translate run good again # and is otplan's from now on
mkdir mine
echo mine >mine/5.png
echo mine >mine/other.txt
refuses 2 'mine/5.png: is there' translate run good mine
files mine 5.png other.txt
does translate run good mine --overwrite
same mine/5.png whole/5.png
[[ $(cat mine/other.txt) == mine ]] || fail "a file beside the outputs was touched"
made again {1,2,3,4,5}.png
mkdir -p single/dir.png
echo mine >single/x.npy
refuses 2 'single/x.npy' translate run good single/x.npy
does translate run good single/x.npy --overwrite
does translate run good single/x.npy --seed 3
does translate run good/1.png single/one.png
does translate run good/2.png single/one.png
does translate run good/1.png single/two.png
exists single/one.png single/x.npy
ln -s nowhere single/loose.png
refuses 2 single/loose.png translate run good/1.png single/loose.png
does translate run good/1.png single/loose.png --overwrite
[[ -f single/loose.png && ! -L single/loose.png ]] || fail "a link is replaced, not followed"
missing single/nowhere nowhere
mkdir way
echo file >way/sub
mkdir nested
mkdir nested/sub
cp good/1.png nested/sub
refuses 2 'a file of that name exists' translate run nested way
mkdir folders
mkdir folders/sub folders/sub/1.png
refuses 2 'is a folder' translate run nested folders --overwrite

title "a manifest that is damaged names nothing"
echo '{"name":"1.png","stem":' >again/$manifest
refuses 2 'again/1.png: is there' translate run good again
printf '%s\n' '{"name":"../first.png","stem":"1","bytes":1,"xxh3":"0"}' >again/$manifest
does translate run good again --overwrite
exists first.png

title "samples of an earlier run that this one does not make are removed"
does translate run good samples --samples 8
does translate run good/1.png samples/1_9.png # of another name, whatever it looks like
printf x >>samples/3_7.png
does translate run good samples --samples 4
warns 'removed 19 outputs' # 5 x 4, but the changed one
files samples {1,2,3,4,5}_{0,1,2,3}.png 3_7.png 1_9.png
does translate run three samples --seed 5 # of other inputs everything stays
files samples {2,4,5}_{0,1,2,3}.png 3_7.png 1_9.png 1.png 3.png
cp set/2.png three
counts 1 translate run three samples --seed 5
files samples {4,5}_{0,1,2,3}.png 3_7.png 1_9.png 1.png 3.png # what is broken now has no output

title "names that would clash keep their extension, in any order"
ppm() { printf 'P6\n16 16\n255\n%768s' "$2" >"$1"; }
mkdir clash halla
ppm clash/a.ppm 1
"$PROBE" png clash/a.png 16 16 3 1
ppm clash/a.png.ppm 2
ppm clash/b.ppm 3
ppm clash/b.png.ppm 4
for f in b.png.ppm b.ppm a.png.ppm a.png a.ppm; do cp clash/$f halla; done
does translate run clash clashed
made clashed a.png.png a.ppm.png a.png.ppm.png b.png b.png.png
does translate run halla hallad
diff -r clashed hallad || fail "the order in the folder counts"
cut_to clash/a.png halla/a.png 60
counts 1 translate run halla hallad # a broken neighbour changes no name
made hallad a.ppm.png a.png.ppm.png b.png b.png.png
does translate run 'clash?part=1/2' parts
does translate run 'clash?part=2/2' parts
diff -r clashed parts || fail "parts have other names"
mkdir -p both/x.png
cp good/1.png both/x.png/y.png
ppm both/x.ppm 1
refuses 2 'would be an output and the folder' translate run both both-out
missing both-out

title "a translation that is stopped knows what it made"
"$OTPLAN" translate run 'synth:digits?limit=200000' stopped >out 2>err </dev/null &
for ((wait = 0; wait < 300; wait++)); do
	[[ -e stopped/000010.png ]] && break
	sleep 0.1
done
code=0
kill -TERM $!
wait $! || code=$?
[[ $code == 143 ]] || fail "exit code $code, expected 143"
complains 'stopped by signal'
tidy
diff <(cd stopped && ls -- *.png) <(sed 's/{"name":"\([^"]*\)".*/\1/' stopped/$manifest) >/dev/null || fail "the manifest names other files"
does translate run 'synth:digits?limit=20' stopped --seed 2

title "so does an export"
for signal in INT TERM; do
	rm -rf fids
	# A background job of a script ignores INT unless it is told otherwise.
	(trap - INT && exec "$OTPLAN" export run 'synth:digits?limit=200000' fids --for fid --target good >out 2>err </dev/null) &
	for ((wait = 0; wait < 300; wait++)); do
		[[ -e fids/generated/000010.png ]] && break
		sleep 0.1
	done
	code=0
	kill -$signal $!
	wait $! || code=$?
	[[ $code == $([[ $signal == INT ]] && echo 130 || echo 143) ]] || fail "exit code $code after $signal"
	complains 'export: stopped by signal'
	tidy
	missing fids/manifest.json fids/generated.npz
	diff <(cd fids/generated && ls -- *.png) <(sed 's/{"name":"generated.\([^"]*\)".*/\1/' fids/$manifest) >/dev/null || fail "the manifest names other files"
done

title "an export is made again, and holds nothing else"
does_export() { exits 0 export run good "$@" --for fid --target good; }
does_export fid --samples 2
does_export fid
files fid generated/00000{0,1,2,3,4}.png reference/00000{0,1,2,3,4}.png generated.npz reference.npz manifest.json
cp good/1.png fid/generated/other.png
exits 2 export run good fid --for fid --target good --overwrite
complains 'no part of this export'
rm fid/generated/other.png fid/$manifest
exits 2 export run good fid --for fid --target good
complains 'is none of the outputs made here'
does_export fid --overwrite

title "pictures of verify are outputs like others"
mkdir plans
quick=(verify gaussian-2 --steps 1 --out plans)
exits 1 "${quick[@]}" # one step meets no bar
made plans gaussian-2-otp.png
exits 1 "${quick[@]}" --formulation otm
made plans gaussian-2-otm.png gaussian-2-otp.png
exits 1 "${quick[@]}" --seed 2
echo mine >plans/gaussian-2-otp.png
exits 2 "${quick[@]}"
complains 'plans/gaussian-2-otp.png: was changed'
[[ ! -s out && $(cat plans/gaussian-2-otp.png) == mine ]] || fail "trained or written before all was checked"
rm plans/$manifest
exits 2 "${quick[@]}"
complains 'is none of the outputs made here'
exits 1 "${quick[@]}" --overwrite

title "a run replaces nothing that lies in its folder"
for name in model.h5 report.html curves.svg samples/step-0000006.png checkpoints/step-0000003.h5; do
	rm -rf taken
	mkdir -p "taken/$(dirname $name)"
	echo mine >taken/$name
	refuses 2 "holds ${name##*/}" train --source good --target good "${images[@]}" --out taken
	files taken $name
done
mkdir shared
for name in notes.txt samples.png.tmp-7 model.h5.tmp-old; do echo mine >shared/$name; done
"$OTPLAN" train --source good --target good "${images[@]}" --out shared >out 2>err </dev/null || fail "shared"
for name in notes.txt samples.png.tmp-7 model.h5.tmp-old; do [[ $(cat shared/$name) == mine ]] || fail "$name is gone"; done
rm -r shared
