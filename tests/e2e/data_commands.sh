#!/usr/bin/env bash
# umbra data info and umbra data pack, on a small CIFAR-10 of black images.
set -uo pipefail
umbra=$1
. "$(dirname "$0")/expect.bash"

cifar=$work/cifar
black_cifar "$cifar" 2

expect 0 "train: 10 images, 10 classes of 0 to 10" "$umbra" data info "$cifar"
expect 0 '"images": 10' "$umbra" data info "$cifar" --json
expect 1 "no data set found" "$umbra" data info "$work"
expect 2 "--format" "$umbra" data info "$cifar" --format csv
expect 2 "" "$umbra" data

mkdir "$work/packed"
expect 0 "set-test.tar: 2 images" "$umbra" data pack "$cifar" "$work/packed/set.tar"
expect 0 "test: 2 images, 1 class of 2 to 2" "$umbra" data info "$work/packed" --check
expect 0 "small.tar: 10 images" "$umbra" data pack "$work/packed" "$work/small.tar" --split train \
  --resize 16 --quality 90
expect 0 "10 JPEG; width 16, height 16" "$umbra" data info "$work/small.tar"
expect 2 "already there" "$umbra" data pack "$cifar" "$work/small.tar" --split train
expect 2 "no test part" "$umbra" data pack "$work/small.tar" "$work/x.tar" --split test
expect 2 "more words for parts than train" "$umbra" data pack "$cifar" "$work/set-test.tar"
expect 2 "ends in .tar" "$umbra" data pack "$cifar" "$work/x.zip"

images=$work/images/cat
mkdir -p "$images"
# GNU tar reads what was packed.
tar -xOf "$work/packed/set-test.tar" airplane/0.png >"$images/1.png"
head -c 50 "$images/1.png" >"$images/2.png"
expect 1 "2.png" "$umbra" data info "$work/images" --check
expect 1 "2.png" "$umbra" data pack "$work/images" "$work/x.tar" --split train
expect 0 "left out, broken: 1" "$umbra" data pack "$work/images" "$work/x.tar" --split train --skip-broken

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
