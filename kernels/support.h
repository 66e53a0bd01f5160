// What callers of the kernels need around them. The kernels want a CPU with AMX (Intel Xeon since
// Sapphire Rapids); they take plain pointers and counts, and the bits of bf16 numbers.
#pragma once

#include <cstdint>
#include <new>

namespace umbra::kernels {

using bf16 = uint16_t;

// Whether this processor and system can run them. The first call asks the system for the tiles.
bool available();

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
