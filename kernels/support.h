// What callers of the kernels need around them. The kernels want a CPU with AVX-512 and its bf16
// products (AMD EPYC since Genoa; Intel Xeon Cooper Lake, and all since Sapphire Rapids), and some
// AMX tiles as well (Xeon since Sapphire Rapids). They take plain pointers and counts, and the bits
// of bf16 numbers.
#pragma once

#include <cstdint>
#include <new>

namespace umbra::kernels {

using bf16 = uint16_t;

// Whether this processor and system can run them. UMBRA_MAX_CPU_ISA in the environment holds them
// back, to compare, and to test each way on one machine: avx512 does without the tiles, none
// without any kernel (oneDNN and its ONEDNN_MAX_CPU_ISA are left alone). Throws std::runtime_error
// for another value.
bool available();

// Whether it has tiles, too. The first call of either asks the system for them. Attention's
// products do without, convolutions do not.
bool have_tiles();

// Scratch memory on a cache line.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : memory_(static_cast<float*>(::operator new(floats * sizeof(float), kLine))) {}
  ~Scratch() { ::operator delete(memory_, kLine); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return memory_; }

 private:
  static constexpr std::align_val_t kLine{64};
  float* memory_;
};

// While it lives, this thread may call kernels that multiply matrices.
class Tiles {
 public:
  Tiles();
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace umbra::kernels
