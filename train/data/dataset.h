// The contract of a labelled image set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "augment/lazy_image.h"

namespace umbra {

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual int64_t channels() const = 0;                             // 1 or 3
  virtual const std::vector<std::string>& class_names() const = 0;  // index = label
  virtual int64_t label(int64_t index) const = 0;
  // The image, 8 bits a channel, RGB or grey, decoded no sooner than needed. Safe to call from
  // several threads. Throws umbra::Error if the file cannot be read, augment::ImageError if it is
  // no image.
  virtual augment::LazyImage open(int64_t index) const = 0;
  // What to call the sample in messages: its file, or "train image 17".
  virtual std::string name(int64_t index) const = 0;

  // The whole image, decoded. Throws umbra::Error naming the sample if that is not possible.
  cv::Mat image(int64_t index) const;

  int64_t num_classes() const { return static_cast<int64_t>(class_names().size()); }
};

// A sample that could not be read, and why.
struct BrokenSample {
  int64_t index = 0;  // in the set
  std::string name, reason;
};
BrokenSample broken_sample(const Dataset& dataset, int64_t index, const std::exception& error);

// The training and the test part of a data set.
struct DataSplits {
  std::shared_ptr<const Dataset> train, test;
};

// How the files of a data set are turned into images.
struct ReadOptions {
  augment::DecodeOptions decode;
};

// The formats that open_dataset knows, "auto" first.
std::vector<std::string> data_formats();

// Opens `path`, a folder or a tar file, as one of data_formats(); "auto" is whichever the contents
// fit. Throws umbra::Error if nothing fits, a file is missing or damaged.
DataSplits open_dataset(const std::string& format, const std::string& path,
                        const ReadOptions& read = {});

// A view of some samples of a data set, in the order given.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> whole,
                                      std::vector<int64_t> indices);

// `count` samples drawn from the run seed, the same number of every class (as near as it goes).
std::shared_ptr<const Dataset> balanced_subset(std::shared_ptr<const Dataset> whole, int64_t count,
                                               uint64_t seed);

// Splits off a share of the samples, drawn from the run seed: {rest, held out}.
std::pair<std::shared_ptr<const Dataset>, std::shared_ptr<const Dataset>> split_off(
    std::shared_ptr<const Dataset> whole, double share, uint64_t seed);

// A view that keeps every image decoded after its first use, if the whole set fits into
// `budget_bytes` by the size of up to 64 of its images; never more than that is kept. The set
// itself, if it does not fit or is in memory anyway.
std::shared_ptr<const Dataset> keep_in_memory(std::shared_ptr<const Dataset> dataset,
                                              int64_t budget_bytes);

}  // namespace umbra
