// What the tests of the data-set readers share.
#pragma once

#include <string>
#include <vector>

#include <zlib.h>
#include <opencv2/core.hpp>

#include "augment/image.h"
#include "tests/data_support.h"
#include "train/error.h"

namespace umbra::test {

inline std::string text_of(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

inline std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

inline std::string gzip(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder / "file.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  std::ifstream packed(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(packed), {}};
}

inline std::string opening_error(const std::string& format, const std::filesystem::path& path) {
  return error_of([&] { open_dataset(format, path); });
}

inline std::vector<int> pixel(const cv::Mat& image, int y, int x) {
  const uint8_t* values = image.ptr(y, x);
  return {values, values + image.channels()};
}

inline bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.type() == b.type() && a.size() == b.size() && cv::norm(a, b, cv::NORM_L1) == 0;
}

inline std::vector<int64_t> labels_of(const Dataset& dataset) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < dataset.size(); ++i) labels.push_back(dataset.label(i));
  return labels;
}

// A PNG file of one colour, whose red tells where an image comes from.
inline std::string png(int red, int width = 2, int height = 2) {
  return text_of(augment::encode_png(cv::Mat(height, width, CV_8UC3, cv::Scalar(red, 7, 7))));
}

inline std::vector<int> reds_of(const Dataset& dataset) {
  std::vector<int> reds;
  for (int64_t i = 0; i < dataset.size(); ++i) reds.push_back(pixel(dataset.image(i), 1, 1)[0]);
  return reds;
}

// Sample i of a file: label (first + i) mod classes, and planes full of 10 i, 10 i + 1, 10 i + 2
// but for the second pixel, which is 200, 201, 202.
inline std::string cifar_records(int count, int first, int classes) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    if (classes == 100) bytes += static_cast<char>(19);  // the coarse label
    bytes += static_cast<char>((first + i) % classes);
    for (int c = 0; c < 3; ++c) {
      std::string plane(1024, static_cast<char>(10 * i + c));
      plane[1] = static_cast<char>(200 + c);
      bytes += plane;
    }
  }
  return bytes;
}

inline std::string class_list(int classes) {
  std::string text;
  for (int c = 0; c < classes; ++c) text += fmt::format("name {}\n", c);
  return text + "\n";
}

inline void write_cifar10(const std::filesystem::path& folder) {
  for (int b = 1; b <= 5; ++b) {
    write_bytes(folder / fmt::format("data_batch_{}.bin", b), cifar_records(3, 3 * b, 10));
  }
  write_bytes(folder / "test_batch.bin", cifar_records(4, 0, 10));
  write_bytes(folder / "batches.meta.txt", class_list(10));
}

inline void write_cifar100(const std::filesystem::path& folder) {
  write_bytes(folder / "train.bin", cifar_records(7, 90, 100));
  write_bytes(folder / "test.bin", cifar_records(2, 5, 100));
  write_bytes(folder / "fine_label_names.txt", class_list(100));
}

}  // namespace umbra::test
