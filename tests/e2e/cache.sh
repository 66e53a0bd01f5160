#!/usr/bin/env bash
# umbra cache and runs from a cache: parts, a writer killed on its way, damage, refusals; bench run.
set -uo pipefail
umbra=$1
source_dir=$2
. "$(dirname "$0")/expect.bash"

cat >"$work/student.toml" <<TOML
extends = "$source_dir/configs/demo/vit-shake.toml"
[data]
train_samples = 2000
[augment]
mixup_alpha = 0.8
[model]
embed_dim = 16
depth = 1
num_heads = 2
[teacher]
path = "$work/teacher"
cache = "$work/cache"
expect_top1 = 10
[schedule]
warmup = "5 steps"
[train]
duration = "4 epochs"
batch_size = 20
TOML
"$umbra" train "$source_dir/configs/demo/teacher.toml" --out "$work/teacher" --quiet \
  --set train.duration="20 steps" --set schedule.warmup="5 steps" --set run.precision=fp32
cache=("$umbra" cache "$work/student.toml")
train=("$umbra" train "$work/student.toml")
sums() { (cd "$1" && cksum epoch-*.logits); }

expect 2 "student.toml:12:9: $work/cache holds no cache of a teacher: make it with umbra cache" "${train[@]}" --out "$work/run"
expect 2 "no teacher has a cache to fill" "${cache[@]}" --set teacher.cache=
expect 2 "--epochs 3-9: want one epoch, or a range" "${cache[@]}" --epochs 3-9
expect 2 "--epochs two" "${cache[@]}" --epochs two

# Whole; in parts, out of order; by a writer that is killed.
expect 0 "epoch 4/4 [100/100]" "${cache[@]}" --set teacher.cache="$work/whole"
expect 0 "10 of 10 logits, 44 bytes a view" "${cache[@]}" --epochs 3-4
expect 2 "lacks epochs 1-2 of 4: umbra cache CONFIG makes them" "${train[@]}" --out "$work/run"
size=0
until [ "$size" -gt 0 ]; do
  "${cache[@]}" --epochs 1 --quiet &
  pid=$!
  until [ "$size" -gt 0 ] || ! kill -0 $pid 2>/dev/null; do
    size=$(stat -c %s "$work/cache/epoch-00001.logits" 2>/dev/null || echo 0)
  done
  kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null
done
expect 0 "epoch 3/4 is there" "${cache[@]}"
[ "$(sums "$work/cache")" == "$(sums "$work/whole")" ] || {
  echo "FAILED: the parts differ from the whole"
  failures=$((failures + 1))
}
expect 0 "same top-1 100.00 %" "${cache[@]}" --verify 8
expect 1 "does not hold what" "${cache[@]}" --verify 8 --tolerance 0.0000001
expect 0 '"same_top1": 100.0' "${cache[@]}" --verify 8 --json
expect 0 "best top-1" "${train[@]}" --out "$work/run"
expect 0 "images/s over 5 steps" "$umbra" bench run "$work/student.toml" --steps 5 --warm-up 1
expect 0 '"data_share":' "$umbra" bench run "$work/student.toml" --steps 5 --json
[ -e runs/student ] && { echo "FAILED: bench run left a run behind"; failures=$((failures + 1)); }

# What does not fit, and what is damaged.
expect 2 "augment.mixup_alpha: 0.8 -> 0.2" "${train[@]}" --out "$work/other" --set augment.mixup_alpha=0.2
expect 2 "the term fitnet reads more of it" "${train[@]}" --out "$work/other" --set 'distill.terms=[{method="fitnet"}]'
expect 2 "keeps the 10 largest logits, not 3" "${cache[@]}" --top-k 3
printf 'x' | dd of="$work/cache/epoch-00002.logits" bs=1 seek=4000 conv=notrunc status=none
expect 1 "epoch-00002.logits: the logits of step 5 of the epoch are damaged, or of another cache: umbra cache CONFIG --epochs 2" \
  "${train[@]}" --out "$work/other"
expect 0 "epoch 2/4 [100/100]" "${cache[@]}" --epochs 2
expect 0 "best top-1" "${train[@]}" --out "$work/other" --resume
echo '{' >"$work/cache/cache.json"
expect 2 "cache.json is damaged" "${train[@]}" --out "$work/third"

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
