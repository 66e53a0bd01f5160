#!/usr/bin/env bash
# A run killed with SIGKILL at several instants and resumed ends with the same bits as one that was
# left alone: mid-epoch, with EMA, mixup, CutMix, drop-path and a teacher.
set -euo pipefail
umbra=$1
source_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

config=$work/config.toml
cat > "$config" <<TOML
extends = "$source_dir/configs/demo/vit-shake.toml"
[data]
train_samples = 320
workers = 2
[augment]
mixup_alpha = 0.8
cutmix_alpha = 1.0
[model]
embed_dim = 32
depth = 2
num_heads = 2
drop_path_rate = 0.2
[teacher]
path = "$work/teacher"
expect_top1 = 10
[schedule]
warmup = "20 steps"
[train]
duration = "300 steps"
batch_size = 32
accum_steps = 2
ema_decay = 0.99
[eval]
every = "150 steps"
[log]
every = "7 steps"
[checkpoint]
every = "13 steps"
TOML
"$umbra" train "$source_dir/configs/demo/teacher.toml" --out "$work/teacher" --quiet \
  --set train.duration="20 steps" --set schedule.warmup="5 steps" --set run.precision=fp32

echo "-- left alone"
"$umbra" train "$config" --out "$work/whole" --quiet

echo "-- killed and resumed"
newest() { ls "$work/killed/checkpoints" 2> /dev/null | grep step- | tail -n 1 || true; }
resumed=""
for target in step-00000039 step-00000104 step-00000195 step-00000247; do
  "$umbra" train "$config" --out "$work/killed" --resume --quiet & pid=$!
  until [[ $(newest) > $target || $(newest) == "$target" ]]; do
    kill -0 $pid 2> /dev/null || { echo "the run ended before it was killed"; exit 1; }
    sleep 0.02
  done
  sleep "0.0$((RANDOM % 10))"
  kill -KILL $pid
  wait $pid 2> /dev/null || true
  resumed="$resumed $(newest)"
done
echo "killed after$resumed"
"$umbra" train "$config" --out "$work/killed" --resume --quiet

last=step-00000300
for file in model ema optimizer; do
  cmp "$work/whole/checkpoints/$last/$file.safetensors" "$work/killed/checkpoints/$last/$file.safetensors"
done
# The same rows, too, but for the clock.
strip() { sed -E 's/"(images_per_second|data_share)":[^,}]*//g' "$1/metrics.jsonl"; }
diff <(strip "$work/whole") <(strip "$work/killed")
echo "identical weights, averages, optimiser state and metrics"
