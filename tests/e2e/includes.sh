#!/usr/bin/env bash
# Who may include whom (docs/architecture.md): each row names files and what they must not include.
set -u
cd "$2" || exit 1
failures=0

forbid() {
  local pattern=$1 found
  shift
  found=$(grep -rnE "#include \"$pattern" --include="*.h" --include="*.cpp" "$@")
  if [ -n "$found" ]; then
    echo "must not be included there:"
    echo "$found"
    failures=1
  fi
}

forbid '(cnn|vit|train)/' augment
forbid '(augment|cnn|vit|train)/' kernels
forbid '(augment|vit|train)/' cnn
forbid '(augment|cnn|train)/' vit
forbid 'train/(data|loop|report|cli)/' train/config train/optim train/*.h train/*.cpp
forbid 'train/(distill|optim)/[^o]' train/config
forbid 'train/(config|distill|loop|report|cli)/|(cnn|vit)/' train/data
forbid 'train/(config|data|loop|report|cli)/' train/distill
forbid 'train/(config|data|distill|optim|loop|report|cli)/' train/weights
forbid 'train/cli/' train/loop train/report
exit $failures
