// Every byte of a resized image against Pillow.
#include "augment/resize_kernels.h"
#include "tests/parity/images.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

TEST(ResizeParity, EveryByteIsPillows) {
  const TensorMap tensors = truth("resize");
  const nlohmann::json cases = facts("resize");
  ASSERT_FALSE(cases.empty());
  for (size_t i = 0; i < cases.size(); ++i) {
    const TensorMap expected = part(tensors, fmt::format("{}", i));
    const std::vector<int> box = cases[i].at("box"), size = cases[i].at("size");
    const torch::Tensor input = expected.at("input").contiguous();
    const cv::Mat crop = to_image(input)(cv::Rect(box[0], box[1], box[2], box[3]));
    for (const std::string mode : {"bilinear", "bicubic"}) {
      for (const augment::ResizeKernel& kernel : augment::resize_kernels()) {
        SCOPED_TRACE(fmt::format("case {}, {}, {}", i, mode, kernel.name));
        const cv::Mat resized =
            augment::resize(crop, size[0], size[1], augment::parse_interpolation(mode), kernel);
        const torch::Tensor actual = to_tensor(resized);
        ASSERT_EQ(actual.sizes(), expected.at(mode).sizes());
        EXPECT_EQ((actual != expected.at(mode)).sum().item<int64_t>(), 0);
      }
    }
  }
}

}  // namespace
}  // namespace umbra::test
