#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>

namespace umbra {

// While it lives, matrix products keep the dtype of their operands: an objective is computed under
// the trainer's autocast, which would bring fp32 operands to bf16. Losses that multiply matrices
// hold one.
struct FullPrecision {
  c10::impl::ExcludeDispatchKeyGuard without_autocast{c10::autocast_dispatch_keyset};
};

}  // namespace umbra
