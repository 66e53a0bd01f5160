// EfficientNet-Lite 0 to 4 (Google, 2020) with timm's parameter names: MobileNetV2 with 5x5
// convolutions in some stages, compound scaling, and TensorFlow's padding and batch norm.
#pragma once

#include "cnn/registry.h"

namespace umbra::cnn {

Entries efficientnet_lite_entries();

}  // namespace umbra::cnn
