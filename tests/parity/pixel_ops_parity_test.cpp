// Every byte of the pixel operations and affine transforms against Pillow and torchvision.
#include <functional>
#include <map>

#include <opencv2/core.hpp>

#include "augment/affine.h"
#include "augment/pixel_ops.h"
#include "tests/parity/images.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

using augment::AffineMatrix;
using augment::Interpolation;

struct Case {
  std::string op;
  std::vector<double> arguments;
  Interpolation interpolation;
  cv::Scalar fill;
};

cv::Mat blend_with_mirrored(const cv::Mat& image, double alpha) {
  cv::Mat mirrored;
  cv::flip(image, mirrored, /*flipCode=*/1);
  return augment::blend(image, mirrored, alpha);
}

using Operation = std::function<cv::Mat(const cv::Mat&, const Case&)>;

Operation none(cv::Mat (*op)(const cv::Mat&)) {
  return [op](const cv::Mat& image, const Case&) { return op(image); };
}

template <typename T>
Operation one(cv::Mat (*op)(const cv::Mat&, T)) {
  return [op](const cv::Mat& image, const Case& c) {
    return op(image, static_cast<T>(c.arguments.at(0)));
  };
}

template <typename T, typename U>
Operation two(cv::Mat (*op)(const cv::Mat&, T, U)) {
  return [op](const cv::Mat& image, const Case& c) {
    return op(image, static_cast<T>(c.arguments.at(0)), static_cast<U>(c.arguments.at(1)));
  };
}

Operation moved(cv::Mat (*op)(const cv::Mat&, double, Interpolation, const cv::Scalar&)) {
  return [op](const cv::Mat& image, const Case& c) {
    return op(image, c.arguments.at(0), c.interpolation, c.fill);
  };
}

cv::Mat affine(const cv::Mat& image, const Case& c) {
  AffineMatrix matrix;
  std::copy_n(c.arguments.begin(), matrix.size(), matrix.begin());
  return augment::affine(image, matrix, c.interpolation, c.fill);
}

const std::map<std::string, Operation> kOperations = {
    {"auto_contrast", none(augment::auto_contrast)},
    {"equalize", none(augment::equalize)},
    {"invert", none(augment::invert)},
    {"grayscale", none(augment::grayscale)},
    {"posterize", one(augment::posterize)},
    {"solarize", one(augment::solarize)},
    {"solarize_add", two(augment::solarize_add)},
    {"adjust_color", one(augment::adjust_color)},
    {"adjust_contrast", one(augment::adjust_contrast)},
    {"adjust_brightness", one(augment::adjust_brightness)},
    {"adjust_sharpness", one(augment::adjust_sharpness)},
    {"adjust_hue", one(augment::adjust_hue)},
    {"gaussian_blur", one(augment::gaussian_blur)},
    {"gaussian_filter", two(augment::gaussian_filter)},
    {"blend", one(blend_with_mirrored)},
    {"rotate", moved(augment::rotate)},
    {"shear_x", moved(augment::shear_x)},
    {"shear_y", moved(augment::shear_y)},
    {"translate_x", moved(augment::translate_x)},
    {"translate_y", moved(augment::translate_y)},
    {"affine", affine},
};

Case read_case(const nlohmann::json& fact) {
  const std::vector<int> fill = fact.at("fill");
  return {fact.at("op"), fact.at("arguments"),
          augment::parse_interpolation(fact.at("interpolation")),
          cv::Scalar(fill[0], fill[1], fill[2])};
}

// Calls check(case, |ours - theirs|) for all cases of the operations that `wanted` picks, and
// expects each of these operations to be among them.
template <typename Wanted, typename Check>
void compare(Wanted wanted, Check check) {
  const TensorMap tensors = truth("pixel_ops");
  const nlohmann::json cases = facts("pixel_ops");
  std::map<std::string, int> seen;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case c = read_case(cases[i]);
    if (!wanted(c.op)) continue;
    ++seen[c.op];
    SCOPED_TRACE(fmt::format("case {}: {} of picture {}", i, cases[i].dump(),
                             cases[i].at("input").get<int>()));
    const torch::Tensor input =
        tensors.at(fmt::format("input_{}", cases[i].at("input").get<int>())).contiguous();
    const torch::Tensor expected = tensors.at(fmt::format("case_{}", i));
    const cv::Mat result = kOperations.at(c.op)(to_image(input), c);
    ASSERT_TRUE(result.isContinuous());
    const torch::Tensor actual = to_tensor(result);
    ASSERT_EQ(actual.sizes(), expected.sizes());
    check((actual.to(torch::kInt32) - expected.to(torch::kInt32)).abs());
  }
  for (const auto& [op, function] : kOperations) {
    EXPECT_EQ(wanted(op), seen[op] > 0) << op;
  }
}

TEST(PixelOpsParity, EveryByteIsPillows) {
  compare([](const std::string& op) { return op != "gaussian_filter"; },
          [](const torch::Tensor& difference) {
            EXPECT_EQ(difference.count_nonzero().item<int64_t>(), 0);
          });
}

// torchvision convolves in float; its order of summation decides what lies within an ulp of k +
// 1/2.
TEST(PixelOpsParity, GaussianFilterIsTorchvisionsButForTies) {
  int64_t bytes = 0, different = 0;
  compare([](const std::string& op) { return op == "gaussian_filter"; },
          [&](const torch::Tensor& difference) {
            EXPECT_LE(difference.max().item<int>(), 1);
            bytes += difference.numel();
            different += difference.count_nonzero().item<int64_t>();
          });
  EXPECT_LE(different, bytes / 5000);
}

}  // namespace
}  // namespace umbra::test
