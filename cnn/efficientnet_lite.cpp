#include "cnn/efficientnet_lite.h"

#include "cnn/mobilenet_v2.h"

namespace umbra::cnn {
namespace {

Entry lite(std::string name, int64_t input_size, std::array<int64_t, 7> widths,
           std::array<int64_t, 7> blocks) {
  return entry<MobileNetV2>(std::move(name), input_size,
                            MobileNetV2Design{widths, blocks, {3, 3, 5, 3, 5, 5, 3}, true});
}

}  // namespace

Entries efficientnet_lite_entries() {
  return {
      lite("tf_efficientnet_lite0", 224, {16, 24, 40, 80, 112, 192, 320}, {1, 2, 2, 3, 3, 4, 1}),
      lite("tf_efficientnet_lite1", 240, {16, 24, 40, 80, 112, 192, 320}, {1, 3, 3, 4, 4, 5, 1}),
      lite("tf_efficientnet_lite2", 260, {16, 24, 48, 88, 120, 208, 352}, {1, 3, 3, 4, 4, 5, 1}),
      lite("tf_efficientnet_lite3", 300, {24, 32, 48, 96, 136, 232, 384}, {1, 3, 3, 5, 5, 6, 1}),
      lite("tf_efficientnet_lite4", 380, {24, 32, 56, 112, 160, 272, 448}, {1, 4, 4, 6, 6, 8, 1}),
  };
}

}  // namespace umbra::cnn
