#!/usr/bin/env bash
# umbra preview and umbra bench input, and broken images through training and evaluation.
set -uo pipefail
umbra=$1
. "$(dirname "$0")/expect.bash"

# A CIFAR-10 of noise, packed as PNG files in two archives and unpacked into folders.
mkdir "$work/cifar" "$work/packed" "$work/set"
for file in data_batch_{1..5}.bin test_batch.bin; do
  for label in 0 1 2 3; do
    printf "\\x0$label"
    head -c 3072 /dev/urandom
  done >"$work/cifar/$file"
done
printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >"$work/cifar/batches.meta.txt"
"$umbra" data pack "$work/cifar" "$work/packed/set.tar" >"$work/log" || cat "$work/log"
for part in train test; do
  mkdir "$work/set/$part"
  tar -xf "$work/packed/set-$part.tar" -C "$work/set/$part"
done

cat >"$work/config.toml" <<TOML
[data]
path = "$work/set"
[augment]
preset = "deit"
image_size = 32
[model]
name = "resnet8"
[schedule]
warmup = 0
[train]
duration = "1 epochs"
batch_size = 8
TOML
train=("$umbra" train "$work/config.toml")

expect 0 "sheet.png" "$umbra" preview "$work/config.toml" --out "$work/sheet.png" --count 8
expect 0 "8 pictures instead of 24" "$umbra" preview "$work/config.toml" --out "$work/sheet.png"
expect 0 "hflip" "$umbra" preview "$work/config.toml" --stats --samples 50
picture=$(find "$work/set/train" -name '*.png' | head -1)
expect 0 "op.png" "$umbra" preview --op Rotate --out "$work/op.png" "$picture"
expect 2 "Did you mean 'Rotate'" "$umbra" preview --op Rotat --out "$work/op.png" "$picture"
expect 1 "$work/set" "$umbra" preview --op Rotate --out "$work/op.png" "$work/set"
for sheet in sheet op; do
  [[ $(head -c 4 "$work/$sheet.png" | tail -c 3) == PNG ]] || { echo "no $sheet.png"; failures=1; }
done
expect 0 '"images_per_second"' "$umbra" bench input --images "$work/set" --image-size 32 \
  --samples 64 --json
expect 2 "no pictures" "$umbra" bench input --images "$work/cifar"

# Names need not be UTF-8.
for part in train test; do mv "$work/set/$part/cat" "$work/set/$part/"$'caf\xe9'; done
expect 0 "" "${train[@]}" --out "$work/latin1"
expect 0 "top-1" "$umbra" eval "$work/latin1"
expect 0 "" "${train[@]}" --out "$work/latin1_taught" --set distill.preset=kd --set teacher.path="$work/latin1"
for part in train test; do mv "$work/set/$part/"$'caf\xe9' "$work/set/$part/cat"; done

# One broken image in each part: an error that names it, or skipped, named and counted.
expect 0 "" "${train[@]}" --out "$work/sound"
echo "no image" >"$work/set/train/cat/broken.png"
echo "no image" >"$work/set/test/cat/broken.png"
expect 1 "broken.png: a text file" "${train[@]}" --out "$work/error"
skip=(--set data.on_broken=skip)
expect 0 "skipped, broken: $work/set/test/cat/broken.png" "${train[@]}" "${skip[@]}" --out "$work/skip"
grep -q '"broken_images": [12]' "$work/skip/summary.json" || { echo "not counted"; failures=1; }
expect 0 "top-1" "$umbra" eval "$work/skip"
find "$work/set/test" -name '*.png' -exec sh -c 'echo "no image" >"$1"' _ {} \;
expect 1 "not one image" "${train[@]}" "${skip[@]}" --out "$work/none"

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
