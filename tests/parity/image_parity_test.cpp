// Resizing and the evaluation view against Pillow and timm, mixing against timm.
#include <opencv2/core.hpp>

#include "augment/mix.h"
#include "augment/pipeline.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

cv::Mat to_image(const torch::Tensor& pixels) {  // [H, W, C] uint8
  const torch::Tensor rows = pixels.contiguous();
  return cv::Mat(static_cast<int>(rows.size(0)), static_cast<int>(rows.size(1)),
                 CV_8UC(static_cast<int>(rows.size(2))), rows.data_ptr())
      .clone();
}

torch::Tensor to_tensor(const cv::Mat& image) {
  const cv::Mat rows = image.isContinuous() ? image : image.clone();
  return torch::from_blob(rows.data, {rows.rows, rows.cols, rows.channels()}, torch::kUInt8)
      .clone();
}

// The weights have fewer bits than Pillow's: now and then a byte rounds the other way.
void expect_nearly_equal_bytes(const cv::Mat& actual, const torch::Tensor& expected) {
  const torch::Tensor pixels = to_tensor(actual).to(torch::kInt32);
  ASSERT_EQ(pixels.sizes(), expected.sizes());
  const torch::Tensor difference = (pixels - expected.to(torch::kInt32)).abs();
  EXPECT_LE(difference.max().item<int>(), 1);
  EXPECT_GE((difference == 0).to(torch::kFloat64).mean().item<double>(), 0.99);
}

TEST(ImageParity, ResizeIsPillows) {
  const TensorMap expected = truth("images");
  const nlohmann::json cases = facts("images").at("resize");
  for (size_t i = 0; i < cases.size(); ++i) {
    const cv::Mat image = to_image(expected.at(fmt::format("resize_{}/input", i)));
    for (const std::string mode : {"bilinear", "bicubic"}) {
      SCOPED_TRACE(fmt::format("case {}, {}", i, mode));
      expect_nearly_equal_bytes(augment::resize(image, cases[i].at("width"), cases[i].at("height"),
                                                augment::parse_interpolation(mode)),
                                expected.at(fmt::format("resize_{}/{}", i, mode)));
    }
  }
}

TEST(ImageParity, EvaluationViewIsTimms) {
  const TensorMap expected = truth("images");
  const nlohmann::json cases = facts("images").at("eval");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    augment::AugmentOptions options;
    options.image_size = cases[i].at("size");
    options.crop_pct = cases[i].at("crop_pct");
    options.eval_interpolation = cases[i].at("interpolation");
    expect_nearly_equal_bytes(
        augment::eval_view(to_image(expected.at(fmt::format("eval_{}/input", i))), options),
        expected.at(fmt::format("eval_{}/view", i)));
  }
}

TEST(MixParity, ImagesAndTargetsAreTimms) {
  const TensorMap expected = truth("mixing");
  const nlohmann::json cases = facts("mixing");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    augment::MixDraw draw;
    draw.lambda = cases[i].at("lam");
    if (const nlohmann::json& box = cases[i].at("box"); !box.is_null()) {
      draw.cutmix = true;
      draw.y0 = box[0];
      draw.y1 = box[1];
      draw.x0 = box[2];
      draw.x1 = box[3];
    }
    expect_close(augment::mix_images(expected.at("images"), draw),
                 expected.at(fmt::format("mix_{}/images", i)), 1e-6);
    expect_close(augment::mix_targets(expected.at("labels"), 9, cases[i].at("smoothing"), draw),
                 expected.at(fmt::format("mix_{}/targets", i)), 1e-6);
  }
}

}  // namespace
}  // namespace umbra::test
