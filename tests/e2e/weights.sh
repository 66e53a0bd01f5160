#!/usr/bin/env bash
# umbra models, forward, predict, inspect and export.
set -uo pipefail
umbra=$1
. "$(dirname "$0")/expect.bash"

# A safetensors file with the zero image 'input' [1, 3, 32, 32].
header='{"input":{"dtype":"F32","shape":[1,3,32,32],"data_offsets":[0,12288]}}'
printf "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header" >"$work/input.safetensors"
head -c 12288 /dev/zero >>"$work/input.safetensors"

expect 0 "resnet20" "$umbra" models resnet20
expect 0 '"parameters": 278324' "$umbra" models resnet20 --json
expect 0 '| `resnet20` |' "$umbra" models resnet20 --markdown
expect 2 "Did you mean" "$umbra" models resnet21
expect 0 "cifar_mobilenetv2_050" "$umbra" models MobileNetV2
expect 0 "convnext_tiny " "$umbra" models convnext_tiny.fb_in1k

run=("$umbra" forward --input "$work/input.safetensors")
expect 0 "8 tensors" "${run[@]}" --model wrn_16_1 --out "$work/a.safetensors" --features --num-classes 7
expect 0 "logits" "$umbra" inspect "$work/a.safetensors"
expect 0 "[1, 7]" "$umbra" inspect "$work/a.safetensors"
expect 2 "--model NAME" "${run[@]}" --out "$work/b.safetensors"
expect 2 "no such run folder" "$umbra" inspect "$work/none.safetensors"
expect 1 "there is no tensor 'input'" "$umbra" forward --model resnet8 --input "$work/a.safetensors" \
  --out "$work/b.safetensors"

# A run of one step, its weights as a file, and the mean of the file with itself.
black_cifar "$work/cifar" 4
cat >"$work/config.toml" <<TOML
[data]
path = "$work/cifar"
[augment]
preset = "cifar"
image_size = 32
[model]
name = "resnet8"
num_shadow_heads = 1
[schedule]
warmup = 0
[train]
duration = "1 steps"
batch_size = 8
TOML
expect 0 "" "$umbra" train "$work/config.toml" --out "$work/run"
expect 0 "fc_shadow.0.weight" "$umbra" export "$work/run" --out "$work/w.safetensors"
expect 2 "already there" "$umbra" export "$work/run" --out "$work/w.safetensors"
expect 0 "tensors" "$umbra" export "$work/w.safetensors" "$work/w.safetensors" --out "$work/mean.safetensors"
expect 1 "torchvision has no resnet8" "$umbra" export "$work/run" --out "$work/t.safetensors" --to torchvision
for weights in w mean; do
  expect 0 "tensors" "${run[@]}" --model resnet8 --weights "$work/$weights.safetensors" \
    --out "$work/$weights.out.safetensors"
done
cmp "$work/w.out.safetensors" "$work/mean.out.safetensors" || failures=$((failures + 1))
expect 2 "give --model NAME" "$umbra" export "$work/w.safetensors" --out "$work/t.safetensors" --to torchvision

# Classes of images: by the run, by its bare weights, and what cannot be read.
images=$2/tests/fuzz/corpus/decode
by_run=$("$umbra" predict "$work/run" "$images/jpeg_444" "$images/png_rgb" --top 3) || failures=$((failures + 1))
by_file=$("$umbra" predict "$work/w.safetensors" "$images/jpeg_444" "$images/png_rgb" --top 3 --model resnet8 \
  --classes "$work/cifar/batches.meta.txt" --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225) || failures=$((failures + 1))
if [ "$by_run" != "$by_file" ] || [ "$(grep -c % <<<"$by_run")" -ne 6 ]; then
  echo "FAILED: predict gives $by_run by the run, $by_file by its weights"
  failures=$((failures + 1))
fi
predict=("$umbra" predict "$work/w.safetensors" --model resnet8)
expect 0 '"probability"' "${predict[@]}" "$images/jpeg_444" --json
expect 1 "1 of 2 images could not be read" "${predict[@]}" "$images/foreign_text" "$images/jpeg_444"
expect 2 "is a folder" "${predict[@]}" "$images"
expect 2 "absent.jpg: no such image" "${predict[@]}" "$images/jpeg_444" "$work/absent.jpg"
expect 2 "has no --checkpoint" "$umbra" eval "$work/w.safetensors" --model resnet8 --data "$work/cifar" \
  --checkpoint last
expect 2 "10 classes, 1000 names" "${predict[@]}" "$images/jpeg_444" --classes imagenet
expect 2 "--model NAME" "$umbra" predict "$work/w.safetensors" "$images/jpeg_444"

# A linear probe, cut short; asked again it is read, asked for something else it is not.
probe=("$umbra" probe "$work/run" --out "$work/probes" --set "train.duration=1 steps" --set schedule.milestones=[]
  --set schedule.name=constant)
expect 0 "best top-1" "${probe[@]}" --data "$work/cifar" --quiet
expect 0 '"best_top1"' "${probe[@]}" --data "$work/cifar/" --json
cp -r "$work/cifar" "$work/other"
expect 0 "best top-1" "${probe[@]}" --data "$work/other" --quiet
[ "$(ls "$work/probes" | wc -l)" -eq 2 ] || { echo "FAILED: not one probe for each data set"; failures=$((failures + 1)); }
expect 2 "optim.lr: 0.05 -> 0.5" "${probe[@]}" --data "$work/cifar" --set optim.lr=0.5
expect 2 "augment.mean" "${probe[@]}" --data "$work/cifar" --set 'augment.mean=[0.1, 0.1, 0.1]'
expect 2 "train.duration" "$umbra" probe "$work/run" --out "$work/probes" --data "$work/cifar"
expect 2 "bare weight file" "$umbra" probe "$work/w.safetensors" --data "$work/cifar"

# A network agrees with itself.
expect 0 "agreement 100.00 %" "$umbra" compare "$work/run" "$work/run" --out "$work/heat.png"
expect 0 '"max": 0.0' "$umbra" compare "$work/run" "resnet8=$work/w.safetensors" --weights-only --json
expect 2 "say which model" "$umbra" compare "$work/run" "$work/w.safetensors"
expect 0 "agreement" "$umbra" compare "$work/run" "$work/run" --map logits --out "$work/logits.png"
expect 2 "needs images" "$umbra" compare "$work/run" "$work/run" --map logits --weights-only
expect 2 "does not end in .png" "$umbra" compare "$work/run" "$work/run" --out "$work/heat.svg"
cp -r "$work/run" "$work/lr=0.1"
expect 0 "agreement 100.00 %" "$umbra" compare "$work/run" "$work/lr=0.1"
[ "$(head -c 4 "$work/heat.png" | tail -c 3)" = PNG ] || failures=$((failures + 1))

expect 1 "missing: bn1.bias [16]" "${run[@]}" --model resnet20 --weights "$work/a.safetensors" --out "$work/c.safetensors"

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
