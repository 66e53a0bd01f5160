#!/usr/bin/env bash
# Makes a machine ready to build Umbra: the Debian packages that are missing, and LibTorch (the PyPI
# wheel torch==2.11.0) in a per-user cache. Safe to repeat; a second call only checks.
#
#   tools/setup.sh           what the program needs
#   tools/setup.sh --tests   and the Python packages that the parity tests compare with
#
# UMBRA_TORCH_ROOT=<LibTorch or wheel>: use that one instead of installing torch.

umbra_setup() (
  set -euo pipefail

  tests=0
  for argument in "$@"; do
    case $argument in
      --tests) tests=1 ;;
      *) echo "usage: tools/setup.sh [--tests]" >&2; exit 2 ;;
    esac
  done

  debian_packages=(
    build-essential cmake ninja-build ccache git ca-certificates python3-venv
    libopencv-core-dev libopencv-imgproc-dev libjpeg62-turbo-dev libpng-dev libwebp-dev zlib1g-dev
    libfmt-dev libspdlog-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev
    libgtest-dev libgmock-dev dataset-fashion-mnist
  )
  torch_packages=(torch==2.11.0)
  test_packages=(torchvision==0.26.0 timm==1.0.31 'pillow<12' safetensors numpy)

  fail() {
    echo "setup: $*" >&2
    exit 1
  }

  install_debian_packages() {
    local installed missing=() package
    installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "${debian_packages[@]}" \
      2>/dev/null || true)"
    for package in "${debian_packages[@]}"; do
      [[ $installed == *" installed:$package "* ]] || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
      echo "-- Debian packages: all ${#debian_packages[@]} present"
      return
    fi
    echo "-- Debian packages: installing ${missing[*]}"
    local as_root=(env DEBIAN_FRONTEND=noninteractive)
    if ((EUID != 0)); then
      command -v sudo >/dev/null || fail "not root and no sudo: install ${missing[*]} first"
      as_root=(sudo "${as_root[@]}")
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  }

  # Elsewhere the libraries are the user's business: CMake names each one that it does not find.
  check_tools() {
    local missing=() tool
    for tool in g++ cmake ninja git python3 flock; do
      command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]} == 0)) || fail "not a Debian system, so nothing is installed here." \
      "Missing: ${missing[*]}. The libraries are listed in cmake/dependencies.cmake"
    echo "-- tools present; this is no Debian system, so CMake checks the libraries"
  }

  # Installs into the virtual environment unless the marker says that this was finished before.
  # An install that was cut short leaves no marker and is done again.
  ensure_python_packages() {
    local marker=$venv/.installed-$1 check=$2
    shift 2
    [[ -e $marker ]] && return
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir)
    if ! "$venv/bin/python" -c "$check" 2>/dev/null; then
      echo "-- Python packages: installing $* into $venv"
      "${pip[@]}" "$@"
      "$venv/bin/python" -c "$check" 2>/dev/null || "${pip[@]}" --force-reinstall --no-deps "$@"
      "$venv/bin/python" -W ignore -c "$check" || fail "the packages in $venv do not load: delete it and retry"
    fi
    touch "$marker"
  }

  install_torch() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/umbra
    venv=$cache/torch-2.11.0
    if [[ -e $venv/.installed-torch ]] && { ((!tests)) || [[ -e $venv/.installed-tests ]]; }; then
      echo "-- LibTorch: $venv"
      return
    fi
    mkdir -p "$cache"
    exec 9>"$cache/setup.lock"
    flock --nonblock 9 || { echo "-- waiting for another setup to finish"; flock 9; }
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
      local python=/usr/bin/python3
      [[ -x $python ]] || python=python3
      "$python" -m venv --clear "$venv"
    fi
    ensure_python_packages torch "import torch; assert torch.__version__.startswith('2.11.0')" \
      "${torch_packages[@]}"
    if ((tests)); then
      ensure_python_packages tests \
        "import numpy, safetensors, timm, torchvision; assert timm.__version__ == '1.0.31'" \
        "${torch_packages[@]}" "${test_packages[@]}"
    fi
    echo "-- LibTorch: $venv"
  }

  if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    install_debian_packages
  else
    check_tools
  fi
  if [[ -n ${UMBRA_TORCH_ROOT:-} ]]; then
    [[ -d $UMBRA_TORCH_ROOT ]] || fail "UMBRA_TORCH_ROOT=$UMBRA_TORCH_ROOT is no folder"
    echo "-- LibTorch: $UMBRA_TORCH_ROOT (from UMBRA_TORCH_ROOT)"
    ((tests)) && install_torch  # the parity tests' reference values come from PyTorch itself
    exit 0
  fi
  install_torch
)

umbra_setup "$@"
