// What the tests of data share, without torch: temporary folders, small data sets, files of them.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <opencv2/core/mat.hpp>

#include "augment/rng.h"
#include "train/data/memory_dataset.h"
#include "train/error.h"

namespace umbra::test {

// A folder of its own for a test, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "umbra-test-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a folder like " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// What the umbra::Error (or the `Kind` of it) that the action throws says.
template <typename Kind = Error, typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Kind& error) {
    return error.what();
  }
  return "(no error)";
}

// Writes the file, and the folders above it.
inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// Stripes whose direction and colour tell the class, with a phase and noise of their own for each
// image. Sample i is of class i mod classes; equal arguments give equal sets. A flip turns no
// class into another.
inline MemoryDataset toy_dataset(int64_t size, int64_t classes = 4, int side = 16, int channels = 3,
                                 uint64_t seed = 0) {
  using std::numbers::pi;
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels;
  std::vector<std::string> names;
  for (int64_t c = 0; c < classes; ++c) names.push_back(fmt::format("class {}", c));
  for (int64_t i = 0; i < size; ++i) {
    augment::Rng rng({seed, augment::Purpose::kInit, static_cast<uint64_t>(i)});
    const int64_t label = i % classes;
    const double share = static_cast<double>(label) / static_cast<double>(classes);
    const double angle = pi / 2 * static_cast<double>(label) / std::max<double>(1, classes - 1);
    const double phase = rng.uniform(0, 2 * pi);
    labels.push_back(label);
    for (int y = 0; y < side; ++y) {
      for (int x = 0; x < side; ++x) {
        const double wave = std::sin(phase + pi / 3 * (x * std::cos(angle) + y * std::sin(angle)));
        for (int c = 0; c < channels; ++c) {
          const double tint = channels == 1 ? 0 : std::cos(2 * pi * (share + c / 3.0));
          const double value = 128 + 60 * wave + 40 * tint + 10 * rng.normal();
          pixels.push_back(static_cast<uint8_t>(std::clamp(value, 0.0, 255.0)));
        }
      }
    }
  }
  return {std::move(pixels), std::move(labels), side, side, channels, std::move(names)};
}

class ToyDataset : public MemoryDataset {
 public:
  explicit ToyDataset(int64_t size, int64_t classes = 4, int side = 16, int channels = 3,
                      uint64_t seed = 0)
      : MemoryDataset(toy_dataset(size, classes, side, channels, seed)) {}
};

inline std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

// The contents of the two IDX files of a grey data set.
inline std::string idx_images(const Dataset& dataset) {
  const cv::Mat first = dataset.image(0);
  std::string bytes = big_endian(0x803) + big_endian(static_cast<uint32_t>(dataset.size())) +
                      big_endian(first.rows) + big_endian(first.cols);
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const cv::Mat image = dataset.image(i);
    bytes.append(reinterpret_cast<const char*>(image.data), image.total());
  }
  return bytes;
}

inline std::string idx_labels(const Dataset& dataset) {
  std::string bytes = big_endian(0x801) + big_endian(static_cast<uint32_t>(dataset.size()));
  for (int64_t i = 0; i < dataset.size(); ++i) bytes += static_cast<char>(dataset.label(i));
  return bytes;
}

// Four IDX files of toy images. IDX sets have at least ten classes; the last may be empty.
inline void write_toy_idx(const std::filesystem::path& folder, int64_t train_size,
                          int64_t test_size, int64_t classes = 10, int side = 16) {
  for (const std::string split : {"train", "t10k"}) {
    const bool train = split == "train";
    const ToyDataset set(train ? train_size : test_size, classes, side, 1, /*seed=*/train ? 0 : 1);
    write_bytes(folder / (split + "-images-idx3-ubyte"), idx_images(set));
    write_bytes(folder / (split + "-labels-idx1-ubyte"), idx_labels(set));
  }
}

}  // namespace umbra::test
