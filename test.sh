#!/usr/bin/env bash
# Builds everything and runs the default tests. Further arguments go to ctest: ./test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")"

tools/setup.sh --tests
cmake --preset release ${UMBRA_TORCH_ROOT:+"-DUMBRA_TORCH_ROOT=$UMBRA_TORCH_ROOT"}
cmake --build --preset release --parallel "$(nproc)"
ctest --preset release "$@"
