#!/usr/bin/env bash
# DeiT's fine-tuning at 384 pixels, by its config: a step of it from a model of 224 pixels.
set -euo pipefail
umbra=$1
cd "$2"
. tests/e2e/expect.bash
export OMP_NUM_THREADS=2

black_cifar "$work/cifar" 2
common=(--set "data.path=$work/cifar" --set data.format=auto --set data.drop_last=false
  --set model.name=deit_tiny_patch16_224 --set "train.duration=1 steps" --set augment.repeats=1
  --set augment.mix_groups=1 --set train.batch_size=4 --set schedule.warmup=0 --set "run.precision=fp32")

"$umbra" train configs/deit/deit_tiny.toml "${common[@]}" --out "$work/small" >/dev/null
"$umbra" train configs/deit/finetune_384.toml "${common[@]}" --out "$work/large" \
  --set "model.init_from=$work/small" >/dev/null

# wants TEXT FILE
wants() {
  grep -qF "$1" "$2" || {
    echo "FAILED: no '$1' in $2:"
    cat "$2"
    exit 1
  }
}
wants "resized: pos_embed" "$work/large/log.txt"
wants "img_size = 384" "$work/large/resolved.toml"
wants "drop_path_rate = 0" "$work/large/resolved.toml"
"$umbra" inspect "$work/large" >"$work/tensors.txt"
grep -qE '^pos_embed +Float +\[1, 577, 192\]' "$work/tensors.txt" || {
  echo "FAILED: the position embedding is not of 577 rows"
  exit 1
}
echo "all passed"
