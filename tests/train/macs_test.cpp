#include "train/macs.h"

#include <gtest/gtest.h>

namespace umbra {
namespace {

// Millions, as the papers and their code print them: RepDistiller's networks for 32 pixels and 100
// classes, torchvision's and DeiT's for 224 and 1000.
TEST(MeasureCost, IsWhatIsPublished) {
  const std::vector<std::pair<std::string, double>> published = {
      {"resnet20", 40.8},   {"resnet8x4", 177},       {"wrn_40_2", 328},
      {"cifar_vgg13", 285}, {"shufflenetv1", 38.7},   {"cifar_mobilenetv2_050", 6.5},
      {"resnet18", 1814},   {"mobilenetv2_100", 300}, {"deit_tiny_patch16_224", 1254}};
  for (const auto& [name, millions] : published) {
    SCOPED_TRACE(name);
    ModelOptions options = named_model(name);
    const int64_t size = published_input(name).image_size;
    options.in_chans = 3;
    options.num_classes = size == 32 ? 100 : 1000;
    const auto model = create_model(options);
    const double measured = static_cast<double>(measure_cost(*model, size).macs) / 1e6;
    EXPECT_NEAR(measured, millions, 0.015 * millions);
  }
}

}  // namespace
}  // namespace umbra
