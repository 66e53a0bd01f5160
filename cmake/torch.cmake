# Defines umbra::torch from a LibTorch folder or an installed PyPI wheel, without find_package(Torch):
# that one asks for a CUDA toolkit as soon as the build of torch has CUDA in it, and we need none.
set(UMBRA_TORCH_ROOT "" CACHE PATH
    "A LibTorch folder, the 'torch' folder of an installed wheel, or a virtual environment holding one")

set(_candidates "${UMBRA_TORCH_ROOT}")
if(NOT UMBRA_TORCH_ROOT)
  set(_cache "$ENV{XDG_CACHE_HOME}")
  if(NOT _cache)
    set(_cache "$ENV{HOME}/.cache")
  endif()
  list(APPEND _candidates "${_cache}/umbra/torch-2.11.0")
endif()
set(UMBRA_TORCH "")
foreach(_root IN LISTS _candidates)
  file(GLOB _wheels "${_root}" "${_root}/torch" "${_root}/lib/python3*/site-packages/torch")
  foreach(_dir IN LISTS _wheels)
    if(NOT UMBRA_TORCH AND EXISTS "${_dir}/lib/libtorch_cpu.so")
      set(UMBRA_TORCH "${_dir}")
    endif()
  endforeach()
endforeach()
if(NOT UMBRA_TORCH)
  message(FATAL_ERROR
    "LibTorch not found (looked for lib/libtorch_cpu.so under: ${_candidates}).\n"
    "Run tools/setup.sh, which installs the PyPI wheel torch==2.11.0 into a per-user cache, "
    "or configure with -DUMBRA_TORCH_ROOT=<LibTorch folder or wheel's torch folder>.")
endif()
message(STATUS "LibTorch: ${UMBRA_TORCH}")

add_library(umbra_torch INTERFACE)
add_library(umbra::torch ALIAS umbra_torch)
# -idirafter: the wheel bundles fmt 12; everything here, spdlog included, uses the system's fmt.
target_compile_options(umbra_torch INTERFACE
  "SHELL:-idirafter ${UMBRA_TORCH}/include"
  "SHELL:-idirafter ${UMBRA_TORCH}/include/torch/csrc/api/include")
set(_torch_libs torch torch_cpu c10)
if(EXISTS "${UMBRA_TORCH}/lib/libtorch_cuda.so")
  list(APPEND _torch_libs torch_cuda c10_cuda)
  # CUDA's own headers come with the wheel's packages, or with a toolkit if there is one.
  find_path(UMBRA_CUDA_INCLUDE cuda_runtime_api.h NO_CACHE HINTS
    "${UMBRA_TORCH}/../nvidia/cu13/include" "${UMBRA_TORCH}/../nvidia/cuda_runtime/include" /usr/local/cuda/include)
endif()
list(TRANSFORM _torch_libs PREPEND "${UMBRA_TORCH}/lib/lib")
list(TRANSFORM _torch_libs APPEND ".so")
# The OpenMP runtime that torch itself runs on: its own, or the system's.
file(GLOB _openmp "${UMBRA_TORCH}/lib/libgomp*.so*" "${UMBRA_TORCH}/lib/libiomp5.so")
if(_openmp)
  list(GET _openmp 0 _openmp)
  list(APPEND _torch_libs "${_openmp}")
else()
  list(APPEND _torch_libs gomp)
endif()
# --no-as-needed: libtorch_cuda registers its kernels when loaded, whether or not we name a symbol.
target_link_options(umbra_torch INTERFACE
  "LINKER:--no-as-needed" "LINKER:-rpath,${UMBRA_TORCH}/lib")
# stdc++ first: the wheel's libraries export a std::filesystem of their own, whose remove_all crashes.
target_link_libraries(umbra_torch INTERFACE stdc++ ${_torch_libs})
