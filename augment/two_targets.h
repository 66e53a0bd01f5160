// For loops that the compiler vectorises: it writes the function for AVX2 and for the processor
// asked for, and the program takes the better one. Without FMA, as a fused multiply-add would
// change last bits, and the bytes of an image must not depend on the processor.
#pragma once

#if defined(__x86_64__)
#define UMBRA_TWO_TARGETS __attribute__((target_clones("avx2", "default")))
#else
#define UMBRA_TWO_TARGETS
#endif
