// The entry of libFuzzer for one target; tools/fuzz.sh names it. Nothing in the test program.
#ifdef UMBRA_FUZZ_TARGET

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  umbra::test::UMBRA_FUZZ_TARGET({bytes, size});
  return 0;
}

#endif
