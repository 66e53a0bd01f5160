// Compiled for any processor, as it runs on all.
#include "kernels/support.h"

#ifdef UMBRA_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace umbra::kernels {

bool available() {
#ifdef UMBRA_AMX
  static const bool can = [] {
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("fma")) {
      return false;
    }
    uint32_t a = 7, b = 0, c = 0, d = 0;
    asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(d >> 22 & 1) || !(d >> 24 & 1)) return false;    // AMX-BF16, AMX-TILE
    constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  }();
  return can;
#else
  return false;
#endif
}

}  // namespace umbra::kernels
