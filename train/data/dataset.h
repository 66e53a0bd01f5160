// The contract of a labelled image set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <opencv2/core/mat.hpp>

namespace umbra {

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual int64_t channels() const = 0;                             // 1 or 3
  virtual const std::vector<std::string>& class_names() const = 0;  // index = label
  virtual int64_t label(int64_t index) const = 0;
  // The decoded image, 8 bits a channel, RGB or grey. Safe to call from several threads.
  // Throws umbra::Error naming the file if it cannot be read.
  virtual cv::Mat image(int64_t index) const = 0;

  int64_t num_classes() const { return static_cast<int64_t>(class_names().size()); }
};

// The training and the test part of a data set.
struct DataSplits {
  std::shared_ptr<const Dataset> train, test;
};

// Opens `path` as `format` ("idx", "cifar10", "cifar100", "image_folder", or "auto": whichever the
// folder's contents fit). Throws umbra::Error if nothing fits, a file is missing or damaged.
DataSplits open_dataset(const std::string& format, const std::string& path);

// A view of some samples of a data set, in the order given.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> whole,
                                      std::vector<int64_t> indices);

// `count` samples drawn from the run seed, the same number of every class (as near as it goes).
std::shared_ptr<const Dataset> balanced_subset(std::shared_ptr<const Dataset> whole, int64_t count,
                                               uint64_t seed);

// Splits off a share of the samples, drawn from the run seed: {rest, held out}.
std::pair<std::shared_ptr<const Dataset>, std::shared_ptr<const Dataset>> split_off(
    std::shared_ptr<const Dataset> whole, double share, uint64_t seed);

}  // namespace umbra
