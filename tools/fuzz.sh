#!/usr/bin/env bash
# Fuzzes what reads foreign bytes, with libFuzzer and the address and undefined behaviour
# sanitizers, starting from the committed corpus.
#
#   tools/fuzz.sh [TARGET] [SECONDS]     TARGET: one of those below, or all (default); 60 s for each
#
# What is found lies in build/fuzz/TARGET/: crash-*, timeout-* and the like go, with the fix, into
# tests/fuzz/corpus/TARGET/, which the tests replay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Target: the file that defines it and the sources it needs, then libraries.
declare -A sources=(
  [decode]="tests/fuzz/decode_target.cpp augment/image.cpp augment/jpeg.cpp augment/png.cpp augment/webp.cpp"
  [policy]="tests/fuzz/policy_target.cpp augment/policy.cpp augment/policy_parse.cpp augment/ops.cpp
    augment/pixel_ops.cpp augment/affine.cpp augment/nearest_hint.cpp augment/rng.cpp"
  [tar]="tests/fuzz/tar_target.cpp train/data/tar.cpp train/data/gzip.cpp train/files.cpp"
)
binary_sets="tests/fuzz/binary_sets_target.cpp train/data/idx.cpp train/data/cifar.cpp
  train/data/stl10.cpp train/data/gzip.cpp train/files.cpp"
for set in idx cifar stl10; do sources[$set]=$binary_sets; done
weights="tests/fuzz/weights_target.cpp train/weights/tensor_view.cpp train/weights/pickle.cpp
  train/weights/zip.cpp train/weights/pth.cpp
  train/weights/safetensors.cpp"
for kind in pth safetensors; do sources[$kind]=$weights; done
libraries=(-lopencv_core -lopencv_imgproc -ljpeg -lpng -lwebp -lz -lfmt)

fail() {
  echo "fuzz: $*" >&2
  exit 1
}

find_compiler() {
  local compiler
  for compiler in clang++ clang++-14; do
    command -v "$compiler" >/dev/null && break
    compiler=
  done
  [[ $compiler ]] || fail "no clang++. On Debian: apt install clang libclang-rt-14-dev"
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    "$compiler" -fsanitize=fuzzer,address -x c++ - -o /dev/null 2>/dev/null ||
    fail "$compiler comes without libFuzzer. On Debian: apt install libclang-rt-14-dev"
  echo "$compiler"
}

# Each source is compiled on its own, so that targets share the objects.
build() {
  local target=$1 source object objects=()
  local flags=(-std=c++20 -O1 -g -I. -isystem /usr/include/opencv4 -w
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  mkdir -p "$out/$target"
  for source in ${sources[$target]}; do
    object=$out/${source//\//-}.o
    "$compiler" "${flags[@]}" -c "$source" -o "$object"
    objects+=("$object")
  done
  "$compiler" "${flags[@]}" -fsanitize=fuzzer "-DUMBRA_FUZZ_TARGET=fuzz_$target" \
    tests/fuzz/libfuzzer.cpp "${objects[@]}" "${libraries[@]}" -o "$out/$target/fuzz"
}

run() {
  local target=$1 corpus=tests/fuzz/corpus/$1
  [[ -d $corpus ]] || fail "no corpus in $corpus: run tools/make_fuzz_corpus.py"
  mkdir -p "$out/$target/corpus"
  echo "-- $target: $seconds s"
  "$out/$target/fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$out/$target/" "$out/$target/corpus" "$corpus" \
    >"$out/$target/log" 2>&1 || { tail -n 40 "$out/$target/log"; fail "$target: see $out/$target"; }
  grep -E "number_of_executed_units|DONE" "$out/$target/log"
}

mapfile -t targets < <(printf '%s\n' "${!sources[@]}" | sort)
wanted=${1:-all} seconds=${2:-60} out=build/fuzz
if [[ $wanted != all ]]; then
  [[ -v sources[$wanted] ]] || fail "no target $wanted. There are: all ${targets[*]}"
  targets=("$wanted")
fi
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "SECONDS must be a positive number, got $seconds"
compiler=$(find_compiler)
for target in "${targets[@]}"; do
  build "$target"
  run "$target"
done
