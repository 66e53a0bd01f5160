#include "train/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/rng.h"
#include "train/data/cifar.h"
#include "train/data/idx.h"
#include "train/data/image_folder.h"
#include "train/data/stl10.h"
#include "train/data/tar_dataset.h"
#include "train/data/tiny_imagenet.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;
using augment::Purpose;
using augment::Rng;

struct Format {
  std::string name;
  bool (*fits)(const fs::path&);
  DataSplits (*open)(const fs::path&, const ReadOptions&);
  std::string wanted;
  std::string special_case_of;  // a format that fits, too, and gives way
};

const std::vector<Format> kFormats = {
    {"idx", is_idx, open_idx,
     "{train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte, plain or .gz", ""},
    {"cifar10", is_cifar10, open_cifar10,
     "data_batch_1.bin ... data_batch_5.bin, test_batch.bin and batches.meta.txt, here or in "
     "cifar-10-batches-bin/",
     ""},
    {"cifar100", is_cifar100, open_cifar100,
     "train.bin, test.bin and fine_label_names.txt, here or in cifar-100-binary/", ""},
    {"stl10", is_stl10, open_stl10,
     "{train,test}_{X,y}.bin and class_names.txt, here or in stl10_binary/", ""},
    {"tiny_imagenet", is_tiny_imagenet, open_tiny_imagenet,
     "train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt and wnids.txt, here or "
     "in tiny-imagenet-200/",
     "image_folder"},
    {"image_folder", is_image_folder, open_image_folder,
     "train/CLASS/*.{jpg,jpeg,png,webp} and val/ or test/ alike, or just CLASS/*", ""},
    {"tar", is_tar, open_tar,
     "*train*.tar and *val*.tar or *test*.tar (or .tar.gz) of class folders or WebDataset samples; "
     "or the path of one such file",
     ""},
};

// What fits the contents, but for formats of which another one that fits is a special case.
std::vector<const Format*> fitting(const fs::path& path) {
  std::vector<const Format*> fits;
  for (const Format& format : kFormats) {
    if (format.fits(path)) fits.push_back(&format);
  }
  const auto gives_way = [&](const Format* format) {
    return std::any_of(fits.begin(), fits.end(),
                       [&](const Format* other) { return other->special_case_of == format->name; });
  };
  std::vector<const Format*> best;
  for (const Format* format : fits) {
    if (!gives_way(format)) best.push_back(format);
  }
  return best;
}

const Format& detect(const fs::path& path) {
  const std::vector<const Format*> fits = fitting(path);
  if (fits.size() == 1) return *fits[0];
  if (fits.size() > 1) {
    throw Error(
        fmt::format("{}: the contents fit both {} and {}. Set data.format to the one that is meant",
                    path.string(), fits[0]->name, fits[1]->name));
  }
  std::string looked_for;
  for (const Format& format : kFormats) {
    looked_for += fmt::format("\n  {}: {}", format.name, format.wanted);
  }
  throw Error(fmt::format("{}: no data set found. Set data.path to a folder that holds one of:{}",
                          path.string(), looked_for));
}

const Format& named(const std::string& name) {
  for (const Format& format : kFormats) {
    if (format.name == name) return format;
  }
  throw ConfigError(fmt::format("data.format: got \"{}\", wanted one of {}", name,
                                fmt::join(data_formats(), ", ")));
}

class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices)
      : whole_(std::move(whole)), indices_(std::move(indices)) {
    for (const int64_t index : indices_) {
      if (index >= 0 && index < whole_->size()) continue;
      throw std::out_of_range(
          fmt::format("subset: index {} of a set of {}", index, whole_->size()));
    }
  }

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  int64_t channels() const override { return whole_->channels(); }
  const std::vector<std::string>& class_names() const override { return whole_->class_names(); }
  int64_t label(int64_t index) const override { return whole_->label(indices_.at(index)); }
  std::string name(int64_t index) const override { return whole_->name(indices_.at(index)); }
  augment::LazyImage open(int64_t index) const override { return whole_->open(indices_.at(index)); }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> indices_;
};

void shuffle(std::vector<int64_t>& values, Rng rng) {
  for (int64_t i = static_cast<int64_t>(values.size()) - 1; i > 0; --i) {
    std::swap(values[i], values[rng.below(i + 1)]);
  }
}

// The samples of each class, each class in an order of its own.
std::vector<std::vector<int64_t>> shuffled_members(const Dataset& whole, uint64_t seed,
                                                   Purpose purpose) {
  std::vector<std::vector<int64_t>> members(whole.num_classes());
  for (int64_t i = 0; i < whole.size(); ++i) members.at(whole.label(i)).push_back(i);
  for (size_t c = 0; c < members.size(); ++c) shuffle(members[c], Rng({seed, purpose, c}));
  return members;
}

// Classes in a drawn order: who gives one more where a number does not divide evenly.
std::vector<int64_t> class_order(int64_t classes, uint64_t seed, Purpose purpose) {
  std::vector<int64_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, Rng({seed, purpose, static_cast<uint64_t>(classes)}));
  return order;
}

// How many samples of each class are held out: share * n rounded down, then the largest
// remainders first until there are `total`.
std::vector<int64_t> stratify(const std::vector<std::vector<int64_t>>& members,
                              std::vector<int64_t> order, double share, int64_t total) {
  std::vector<int64_t> counts;
  std::vector<double> remainders;
  for (const auto& samples : members) {
    const double wanted = share * static_cast<double>(samples.size());
    counts.push_back(static_cast<int64_t>(wanted));
    remainders.push_back(wanted - std::floor(wanted));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return remainders[a] > remainders[b]; });
  int64_t left = total - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (const int64_t c : order) {
    if (left-- > 0) ++counts[c];
  }
  return counts;
}

}  // namespace

cv::Mat Dataset::image(int64_t index) const {
  try {
    return open(index).pixels();
  } catch (const augment::ImageError& error) {
    throw Error(fmt::format("{}: {}", name(index), error.what()));
  }
}

BrokenSample broken_sample(const Dataset& dataset, int64_t index, const std::exception& error) {
  BrokenSample sample{index, dataset.name(index), error.what()};
  if (const std::string prefix = sample.name + ": "; sample.reason.starts_with(prefix)) {
    sample.reason.erase(0, prefix.size());
  }
  return sample;
}

std::vector<std::string> data_formats() {
  std::vector<std::string> names = {"auto"};
  for (const Format& format : kFormats) names.push_back(format.name);
  return names;
}

DataSplits open_dataset(const std::string& format, const std::string& path,
                        const ReadOptions& read) {
  const Format* reader = format == "auto" ? nullptr : &named(format);
  try {
    // Only the tar format takes a file.
    if (!fs::is_directory(path) && !(is_tar(path) && (!reader || reader->open == open_tar))) {
      throw Error(fmt::format("data.path: got \"{}\", which is {}, wanted the folder of a data set",
                              path, fs::exists(path) ? "not a folder" : "not there"));
    }
    return (reader ? *reader : detect(path)).open(path, read);
  } catch (const fs::filesystem_error& error) {
    throw Error(fmt::format("{}: cannot read: {}", error.path1().string(), error.code().message()));
  }
}

std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> whole,
                                      std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

std::shared_ptr<const Dataset> balanced_subset(std::shared_ptr<const Dataset> whole, int64_t count,
                                               uint64_t seed) {
  if (count < 1 || count > whole->size()) {
    throw Error(
        fmt::format("data.train_samples: got {}, wanted 1 to {}, the size of the training "
                    "set",
                    count, whole->size()));
  }
  const auto members = shuffled_members(*whole, seed, Purpose::kSubset);
  const auto order = class_order(whole->num_classes(), seed, Purpose::kSubset);
  // In rounds, one sample of each class that has any left: a smaller subset of the same seed is
  // part of a larger one.
  std::vector<int64_t> chosen;
  for (size_t round = 0; static_cast<int64_t>(chosen.size()) < count; ++round) {
    for (const int64_t c : order) {
      if (static_cast<int64_t>(chosen.size()) == count) break;
      if (round < members[c].size()) chosen.push_back(members[c][round]);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return subset(std::move(whole), std::move(chosen));
}

std::pair<std::shared_ptr<const Dataset>, std::shared_ptr<const Dataset>> split_off(
    std::shared_ptr<const Dataset> whole, double share, uint64_t seed) {
  const int64_t total = std::llround(share * static_cast<double>(whole->size()));
  if (!(share > 0.0 && share < 1.0) || total < 1 || total >= whole->size()) {
    throw Error(
        fmt::format("data.val_split: got {}, wanted a share above 0 and below 1 that leaves "
                    "at least one of the {} samples on either side",
                    share, whole->size()));
  }
  const auto members = shuffled_members(*whole, seed, Purpose::kSplit);
  const auto order = class_order(whole->num_classes(), seed, Purpose::kSplit);
  const auto counts = stratify(members, order, share, total);
  std::vector<int64_t> rest, held_out;
  for (size_t c = 0; c < members.size(); ++c) {
    const auto middle = members[c].begin() + counts[c];
    held_out.insert(held_out.end(), members[c].begin(), middle);
    rest.insert(rest.end(), middle, members[c].end());
  }
  std::sort(rest.begin(), rest.end());
  std::sort(held_out.begin(), held_out.end());
  return {subset(whole, std::move(rest)), subset(whole, std::move(held_out))};
}

}  // namespace umbra
