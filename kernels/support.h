// What callers of the kernels need around them. The kernels want a CPU with AVX-512 and its bf16
// products (Intel Xeon since Cooper Lake, AMD EPYC since Genoa), and multiply matrices in AMX tiles
// where there are some (Xeon since Sapphire Rapids). They take plain pointers and counts, and the
// bits of bf16 numbers.
#pragma once

#include <cstdint>
#include <new>

namespace umbra::kernels {

using bf16 = uint16_t;

// Whether this processor and system can run them. UMBRA_MAX_CPU_ISA=avx512 in the environment does
// without the tiles, =none without any of the kernels: to compare, and to test each on one machine.
bool available();

// Whether it has tiles, too. The first call of either asks the system for them.
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
