// Images of the reference files, [H, W, C] uint8 tensors there.
#pragma once

#include <torch/torch.h>
#include <opencv2/core.hpp>

namespace umbra::test {

inline cv::Mat to_image(const torch::Tensor& pixels) {
  const torch::Tensor rows = pixels.contiguous();
  return cv::Mat(static_cast<int>(rows.size(0)), static_cast<int>(rows.size(1)),
                 CV_8UC(static_cast<int>(rows.size(2))), rows.data_ptr())
      .clone();
}

inline torch::Tensor to_tensor(const cv::Mat& image) {
  const cv::Mat rows = image.isContinuous() ? image : image.clone();
  return torch::from_blob(rows.data, {rows.rows, rows.cols, rows.channels()}, torch::kUInt8)
      .clone();
}

}  // namespace umbra::test
