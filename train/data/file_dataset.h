// What the data sets of encoded image files share, wherever the files lie.
#pragma once

#include "train/data/dataset.h"

namespace umbra {

// Files that are read when they are asked for.
class FileDataset : public Dataset {
 public:
  FileDataset(std::vector<std::string> class_names, std::vector<int64_t> labels,
              const ReadOptions& read)
      : class_names_(std::move(class_names)), labels_(std::move(labels)), decode_(read.decode) {}

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t channels() const override { return 3; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return labels_.at(index); }
  augment::LazyImage open(int64_t index) const override {
    return augment::LazyImage(read(index), decode_);
  }

 private:
  // The bytes of the file. Safe to call from several threads. Throws umbra::Error.
  virtual std::vector<uint8_t> read(int64_t index) const = 0;

  std::vector<std::string> class_names_;
  std::vector<int64_t> labels_;
  augment::DecodeOptions decode_;
};

// True for an image, false for a foreign file. Throws umbra::Error for an image that torchvision
// would read and we cannot: to leave it out would be a silent loss.
bool is_sample(const std::string& path);

// Both parts must have the same classes. Throws umbra::Error, which names the difference.
void check_same_classes(const Dataset& train, const Dataset& test, const std::string& test_path);

}  // namespace umbra
