#pragma once

#include "train/distill/term.h"

namespace umbra {

// Throws ConfigError, with advice, unless both networks give the vector that their class head
// reads.
void require_pooled(const TermContext& context);

}  // namespace umbra
