// Compiled for any processor, as it runs on all.
#include "kernels/support.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#ifdef UMBRA_KERNELS
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace umbra::kernels {
namespace {

enum class Isa { kNone, kAvx512, kAmx };

Isa isa_of_machine() {
#ifdef UMBRA_KERNELS
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("fma")) {
    return Isa::kNone;
  }
  uint32_t a = 7, b = 0, c = 0, d = 0;
  asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  constexpr uint32_t kTileAndBf16 = 1u << 24 | 1u << 22;
  constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  const bool has_tiles =
      (d & kTileAndBf16) == kTileAndBf16 && syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  return has_tiles ? Isa::kAmx : Isa::kAvx512;
#else
  return Isa::kNone;
#endif
}

Isa most_wanted() {
  const char* variable = std::getenv("UMBRA_MAX_CPU_ISA");
  const std::string value = variable ? variable : "";
  if (value == "none") return Isa::kNone;
  if (value == "avx512") return Isa::kAvx512;
  if (value == "amx" || value.empty()) return Isa::kAmx;
  throw std::runtime_error("the environment has UMBRA_MAX_CPU_ISA=" + value +
                           ": want none, avx512 or amx, or no such variable");
}

Isa isa() {
  static const Isa chosen = std::min(isa_of_machine(), most_wanted());
  return chosen;
}

}  // namespace

bool available() { return isa() != Isa::kNone; }

bool have_tiles() { return isa() == Isa::kAmx; }

}  // namespace umbra::kernels
