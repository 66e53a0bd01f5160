// Multiply-accumulate operations of a network, as papers count them: convolutions, linear layers
// and the matrix products of attention. Normalisation, activations and pooling are left out.
#pragma once

#include <cstdint>

#include "train/model.h"

namespace umbra {

struct ModelCost {
  int64_t macs = 0;    // for one image
  ModelOutput output;  // of the pass that was measured
};

// Runs the model once, in eval mode, on a black image [in_chans, size, size].
ModelCost measure_cost(Model& model, int64_t size);

}  // namespace umbra
