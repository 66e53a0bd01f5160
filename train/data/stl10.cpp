#include "train/data/stl10.h"

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "train/data/memory_dataset.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 96;
constexpr int64_t kImage = 3 * kSide * kSide;
constexpr int64_t kClasses = 10;
constexpr const char* kNamesFile = "class_names.txt";
constexpr std::array kFiles = {"train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"};

// The folder itself or its subfolder: whichever holds any of the files.
std::optional<fs::path> find_files(const fs::path& folder) {
  for (const fs::path& path : {folder, folder / "stl10_binary"}) {
    const auto exists = [&](const char* file) { return fs::is_regular_file(path / file); };
    if (std::any_of(kFiles.begin(), kFiles.end(), exists)) return path;
  }
  return std::nullopt;
}

std::vector<std::string> read_names(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> names;
  for (std::string name; text >> name;) names.push_back(name);
  if (names.size() == kClasses) return names;
  throw Error(fmt::format("{}: got {} class names, wanted {}. Unpack the archive again",
                          path.string(), names.size(), kClasses));
}

}  // namespace

bool is_stl10(const fs::path& folder) { return find_files(folder).has_value(); }

PlanarSamples parse_stl10(std::span<const uint8_t> images, const std::string& images_name,
                          std::span<const uint8_t> labels, const std::string& labels_name) {
  if (images.empty() || images.size() % kImage != 0) {
    throw Error(
        fmt::format("{}: got {} bytes, wanted a multiple of {} (images of 3 x {} x {}). The file "
                    "is truncated or of another kind: unpack the archive again",
                    images_name, images.size(), kImage, kSide, kSide));
  }
  if (labels.size() != images.size() / kImage) {
    throw Error(
        fmt::format("{}: got {} labels, wanted {}, one for each image in {}. Unpack the "
                    "archive again",
                    labels_name, labels.size(), images.size() / kImage, images_name));
  }
  PlanarSamples samples;
  samples.pixels.reserve(images.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 1 || labels[i] > kClasses) {
      throw Error(
          fmt::format("{}: got label {} for image {}, wanted one of 1 to {}. The file is "
                      "damaged: unpack the archive again",
                      labels_name, labels[i], i, kClasses));
    }
    samples.labels.push_back(labels[i] - 1);
    samples.append_image(images.data() + i * kImage, kSide, 1, kSide);
  }
  return samples;
}

DataSplits open_stl10(const fs::path& folder, const ReadOptions&) {
  const auto files = find_files(folder);
  if (!files) {
    throw Error(
        fmt::format("{0}: neither {0} nor its subfolder stl10_binary holds {1}. Unpack the binary "
                    "version of STL-10 there",
                    folder.string(), kFiles[0]));
  }
  const std::vector<std::string> names = read_names(*files / kNamesFile);
  const auto load = [&](const std::string& part) {
    const fs::path images = *files / (part + "_X.bin"), labels = *files / (part + "_y.bin");
    PlanarSamples samples =
        parse_stl10(read_bytes(images), images.string(), read_bytes(labels), labels.string());
    return std::make_shared<MemoryDataset>(std::move(samples.pixels), std::move(samples.labels),
                                           kSide, kSide, 3, names, part + " image");
  };
  return {load("train"), load("test")};
}

}  // namespace umbra
