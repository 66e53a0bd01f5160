// Compiled for any processor, as it runs on all.
#include "kernels/support.h"

#ifdef UMBRA_KERNELS
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
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

Isa isa() {
  static const Isa chosen = [] {
    const Isa most = isa_of_machine();
#ifdef UMBRA_KERNELS
    const char* limit = std::getenv("UMBRA_MAX_CPU_ISA");
    if (limit && limit == std::string_view("none")) return Isa::kNone;
    if (limit && limit == std::string_view("avx512") && most == Isa::kAmx) return Isa::kAvx512;
#endif
    return most;
  }();
  return chosen;
}

}  // namespace

bool available() { return isa() != Isa::kNone; }

bool have_tiles() { return isa() == Isa::kAmx; }

}  // namespace umbra::kernels
