// A small data set, decoded and held in memory.
#pragma once

#include <cstring>

#include <fmt/format.h>

#include "train/data/dataset.h"

namespace umbra {

class MemoryDataset : public Dataset {
 public:
  // `pixels` holds the images one after the other, each height x width x channels. In messages,
  // sample 17 is "`item` 17".
  MemoryDataset(std::vector<uint8_t> pixels, std::vector<int64_t> labels, int height, int width,
                int channels, std::vector<std::string> class_names, std::string item = "image")
      : pixels_(std::move(pixels)),
        labels_(std::move(labels)),
        height_(height),
        width_(width),
        channels_(channels),
        class_names_(std::move(class_names)),
        item_(std::move(item)) {}

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t channels() const override { return channels_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return labels_.at(index); }
  std::string name(int64_t index) const override { return fmt::format("{} {}", item_, index); }

  augment::LazyImage open(int64_t index) const override {
    cv::Mat image(height_, width_, CV_8UC(channels_));
    const size_t bytes = image.total() * image.elemSize();
    std::memcpy(image.data, pixels_.data() + index * bytes, bytes);
    return augment::LazyImage(image);
  }

 private:
  std::vector<uint8_t> pixels_;
  std::vector<int64_t> labels_;
  int height_, width_, channels_;
  std::vector<std::string> class_names_;
  std::string item_;
};

}  // namespace umbra
