#!/usr/bin/env bash
# Exit codes and messages of the program, as a user meets them.
set -uo pipefail
umbra=$1
source_dir=$2
. "$(dirname "$0")/expect.bash"

small=(--set train.duration="40 steps" --set schedule.warmup="5 steps" --set run.precision=fp32
  --set model.name=resnet8 --set checkpoint.every="10 steps" --set log.every="10 steps" --quiet)
teacher=$source_dir/configs/demo/teacher.toml
student=$source_dir/configs/demo/vit-shake.toml

expect 0 "torch" "$umbra" --version
expect 0 "train" "$umbra" --help
expect 2 "got no command, wanted one of train" "$umbra"
expect 2 "got fly, wanted one of train" "$umbra" fly
expect 2 "umbra bench: got walk, wanted one of" "$umbra" bench walk
expect 2 "umbra train: got --fast, which it does not know" "$umbra" train "$teacher" --fast
expect 2 "umbra eval: path is required" "$umbra" eval
expect 2 "unknown key 'lrr'" "$umbra" config "$teacher" --set optim.lrr=1
expect 2 "cannot read the config file" "$umbra" train "$work/absent.toml"
expect 2 "no data set found" "$umbra" train "$teacher" --out "$work/x" --set data.path="$work"
expect 2 "no such run folder" "$umbra" train "$student" --out "$work/x" --set teacher.path="$work/none"
expect 2 "run.device" "$umbra" train "$teacher" --out "$work/x" --set run.device=tpu
[ ! -e "$work/x" ] || { echo "FAILED: a refused config left a run folder"; failures=$((failures + 1)); }

expect 0 "40 steps" "$umbra" train "$teacher" --out "$work/teacher" "${small[@]}"
expect 2 "already holds a run" "$umbra" train "$teacher" --out "$work/teacher" "${small[@]}"
expect 0 "is finished" "$umbra" train "$teacher" --out "$work/teacher" "${small[@]}" --resume
expect 2 "less than expect_top1 = 99" "$umbra" train "$student" --out "$work/y" \
  --set teacher.path="$work/teacher" --set teacher.expect_top1=99
expect 2 "they must agree" "$umbra" train "$student" --out "$work/z" \
  --set teacher.path="$work/teacher" --set model.num_classes=12
expect 2 "so it does not go on from step-00000010" "$umbra" train "$teacher" --out "$work/teacher" \
  "${small[@]}" --resume=step-00000010
expect 0 "is finished" "$umbra" train "$work/teacher/resolved.toml" --resume
expect 0 "" "$umbra" config "$student" --set 'teacher={}'
expect 2 "train.duration" "$umbra" config "$student" --set train.duration="99999999999999999999 steps"
expect 2 "--model is for a bare weight file" "$umbra" eval "$work/teacher" --model resnet20
expect 2 "UMBRA_MAX_CPU_ISA=sse" env UMBRA_MAX_CPU_ISA=sse "$umbra" --version
expect 1 "cannot write to standard output" sh -c "'$umbra' --version > /dev/full"
expect 1 "no finished run" "$umbra" report "$work"
expect 0 "class head" "$umbra" report "$work/teacher" --json "$work/table.json"
expect 0 "left out: $work: no finished run there" "$umbra" report "$work" "$work/teacher"
expect 0 "top-1" "$umbra" eval "$work/teacher" --per-class "$work/classes.csv"
expect 0 "raw " "$umbra" eval "$work/teacher" --config "$teacher" --set train.ema_decay=0.99
[ "$(wc -l < "$work/classes.csv")" = 11 ] || { echo "FAILED: per-class CSV"; failures=$((failures + 1)); }

# The counts do not depend on the batch size.
counts() { "$umbra" eval "$work/teacher" --json --set eval.batch_size="$1" | grep correct; }
[ "$(counts 1000)" = "$(counts 333)" ] || { echo "FAILED: batch size changed counts"; failures=$((failures + 1)); }

# A signal saves and ends with 128 + its number; the run then goes on.
for signal in INT:130 TERM:143; do
  run=$work/stopped-${signal%:*}
  "$umbra" train "$teacher" --out "$run" "${small[@]}" --set train.duration="5000 steps" & pid=$!
  for _ in $(seq 100); do [ -e "$run/metrics.jsonl" ] && break; sleep 0.1; done
  sleep 2
  kill -"${signal%:*}" $pid
  wait $pid
  status=$?
  [ $status -eq "${signal#*:}" ] || { echo "FAILED: SIG${signal%:*} gave exit $status"; failures=$((failures + 1)); }
  ls "$run/checkpoints" | grep -q step- || { echo "FAILED: nothing saved"; failures=$((failures + 1)); }
done

# A resumed run must keep its config, and a damaged checkpoint is refused with a way out.
run=$work/stopped-INT
expect 2 "optim.lr: 0.2 -> 0.1" "$umbra" train "$teacher" --out "$run" "${small[@]}" \
  --set train.duration="5000 steps" --set optim.lr=0.1 --resume
newest=$(ls "$run/checkpoints" | grep step- | tail -n 1)
printf 'x' | dd of="$run/checkpoints/$newest/model.safetensors" bs=1 seek=5000 conv=notrunc status=none
expect 1 "checksum is wrong" "$umbra" train "$teacher" --out "$run" "${small[@]}" \
  --set train.duration="5000 steps" --resume
printf '{}' > "$run/checkpoints/$newest/state.json"
expect 1 "none of umbra's" "$umbra" train "$teacher" --out "$run" "${small[@]}" \
  --set train.duration="5000 steps" --resume

[ $failures -eq 0 ] && echo "all as they should be"
exit $((failures > 0))
