// Every byte of decoded images, whole and in part, and of encoded ones, against Pillow.
#include <opencv2/core.hpp>

#include "augment/image.h"
#include "tests/parity/images.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

std::span<const uint8_t> bytes_of(const torch::Tensor& file) {
  return {file.data_ptr<uint8_t>(), static_cast<size_t>(file.numel())};
}

void expect_equal(const cv::Mat& actual, const cv::Mat& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  ASSERT_EQ(actual.type(), expected.type());
  EXPECT_EQ(cv::norm(actual, expected, cv::NORM_L1), 0);
}

TEST(DecodeParity, EveryByteIsPillows) {
  const TensorMap tensors = truth("decode");
  const nlohmann::json cases = facts("decode");
  ASSERT_FALSE(cases.empty());
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    const torch::Tensor file = tensors.at(fmt::format("{}/file", i));
    const torch::Tensor pixels = tensors.at(fmt::format("{}/pixels", i)).contiguous();
    const augment::ImageHeader header = augment::read_header(bytes_of(file));
    EXPECT_EQ(header.format, cases[i].at("format").get<std::string>());
    EXPECT_EQ(header.width, pixels.size(1));
    EXPECT_EQ(header.height, pixels.size(0));
    const cv::Mat expected = to_image(pixels);
    expect_equal(augment::decode_image(bytes_of(file)), expected);
    for (const std::vector<int> box : cases[i].at("windows")) {
      const augment::Box window{box[0], box[1], box[2], box[3]};
      expect_equal(augment::decode_window(bytes_of(file), window, window.width, window.height),
                   expected(cv::Rect(window.x, window.y, window.width, window.height)));
    }
  }
}

TEST(DecodeParity, EncodedJpegIsPillowsFile) {
  const TensorMap tensors = truth("encode");
  for (const int quality : facts("encode")) {
    for (const int channels : {1, 3}) {
      SCOPED_TRACE(fmt::format("quality {}, {} channels", quality, channels));
      const torch::Tensor pixels = tensors.at(fmt::format("{}/pixels", channels)).contiguous();
      const auto file = bytes_of(tensors.at(fmt::format("{}/{}", channels, quality)));
      EXPECT_EQ(augment::encode_jpeg(to_image(pixels), quality),
                std::vector<uint8_t>(file.begin(), file.end()));
    }
  }
}

}  // namespace
}  // namespace umbra::test
