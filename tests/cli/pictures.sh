#!/usr/bin/env bash
# Folders as people have them: files of other kinds, pipes, links, names as long
# as they may be. And what is no file where one was expected.
. "$(dirname "$0")/lib.sh"

mkdir a
for i in 0 1 2 3; do "$PROBE" png a/$i.png 16 16 3 $i; done
does train --source a --target a "${images[@]}" --out run

title "what is no file"
mkfifo pipe
for no_file in /dev/zero pipe; do
	refuses 2 'a file was expected' train --source a --target a --config $no_file --out no
done
mkfifo a/pipe.png
exits 0 info a
warns 'skipped: a/pipe.png: is a pipe, device or socket'
rm a/pipe.png

title "files of other kinds are counted in one line, and change nothing"
echo hello >a/read.me
echo hello >a/notes.txt
does info a
warns '^a: 2 files are not read: 2 text$'
does translate run/model.h5 a plain
files plain 0.png 1.png 2.png 3.png
printf 'II*\0\10\0\0\0' >a/scan.tiff
exits 0 info a
warns '^a: 3 files are not read: 2 text, 1 TIFF; the first picture of these is a/scan.tiff$'
says '^left out, unreadable  *1$'
rm a/read.me a/notes.txt a/scan.tiff

title "names of 244 to 255 bytes"
mkdir long
for length in 244 250 255; do
	"$PROBE" png "long/$(printf 'n%.0s' $(seq $((length - 4)))).png" 16 16 3 1
done
does translate run/model.h5 long long-out
[[ $(ls long-out | wc -l) == 3 ]] || fail "not all long names came out"
refuses 2 'name of 257 bytes' translate run/model.h5 long long-samples --samples 2 # NAME_0.png
missing long-samples

title "a picture over the limit is named and left out"
"$PROBE" png a/large.png 32 32 3 1
exits 0 info 'a?max-pixels=256'
warns 'a/large.png: is 32 x 32 (width x height), 1024 pixels'
exits 0 train --source a --target a --max-pixels 256 "${images[@]}" --out limited
warns 'a/large.png: is 32 x 32'
