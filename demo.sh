#!/usr/bin/env bash
# The demo: a CNN teacher on Fashion-MNIST, then a small vision transformer with few labels, trained
# alone, with DeiT's hard distillation and with SHAKE. Ends with one table.
#
#   ./demo.sh [--build-only] [--seed N] [--out DIR]
#
# An interrupted demo goes on where it stopped; after a finished one the old results are moved to
# DIR.1, DIR.2, ... and a new one starts.
set -euo pipefail

usage() {
  echo "usage: ./demo.sh [--build-only] [--seed N] [--out DIR (default: runs/demo)]" >&2
  exit 2
}

build_only=0 seed=0 out=
while (($#)); do
  case $1 in
    --build-only) build_only=1 ;;
    --seed) [[ ${2:-} =~ ^[0-9]+$ ]] || usage; seed=$2; shift ;;
    --out) [[ -n ${2:-} ]] || usage; out=$(realpath -m -- "$2"); shift ;;
    *) usage ;;
  esac
  shift
done
cd "$(dirname "$0")"
out=${out:-runs/demo}
umbra=build/release/umbra

tools/setup.sh
cmake --preset release ${UMBRA_TORCH_ROOT:+"-DUMBRA_TORCH_ROOT=$UMBRA_TORCH_ROOT"} --log-level=WARNING
cmake --build --preset release --parallel "$(nproc)" --target umbra
((build_only)) && exit 0

if [[ -e $out/summary.json ]]; then
  n=1
  while [[ -e $out.$n ]]; do n=$((n + 1)); done
  mv -- "$out" "$out.$n"
  echo "-- the finished demo in $out is now $out.$n"
fi

train() {  # name, further arguments
  local name=$1 resume=()
  shift
  [[ -e $out/$name/resolved.toml ]] && resume=(--resume)
  "$umbra" train "configs/demo/$name.toml" --out "$out/$name" --set "run.seed=$seed" "$@" \
    ${resume[@]+"${resume[@]}"}
}

train teacher
train vit
train vit-deit-hard --set "teacher.path=$out/teacher"
train vit-shake --set "teacher.path=$out/teacher"
"$umbra" report "$out"/{teacher,vit,vit-deit-hard,vit-shake} --json "$out/summary.json"
