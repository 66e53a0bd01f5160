#include "train/data/idx.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/lower_case.h"
#include "train/data/gzip.h"
#include "train/data/memory_dataset.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kUnsignedBytes = 0x00000800;  // magic number, less the number of dimensions
constexpr int64_t kMaxUnpacked = int64_t{1} << 33;
constexpr int64_t kMaxSide = 1 << 15;
constexpr int64_t kMinClasses = 10;

const std::vector<std::string> kFashionNames = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                "Bag",         "Ankle boot"};

struct Part {
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels;
  int height = 0, width = 0;
};

// `stem` is "train-images", `kind` "idx3-ubyte".
std::optional<fs::path> find_file(const fs::path& folder, const std::string& stem,
                                  const std::string& kind) {
  for (const char* joint : {"-", "."}) {
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = folder / (stem + joint + kind + suffix);
      if (fs::is_regular_file(path)) return path;
    }
  }
  return std::nullopt;
}

fs::path require_file(const fs::path& folder, const std::string& stem, const std::string& kind) {
  if (const auto path = find_file(folder, stem, kind)) return *path;
  throw Error(fmt::format(
      "{}: no {}-{} (nor with .gz, nor with a dot before 'idx'). An IDX data set has four files, "
      "images and labels for train and t10k: add the missing one",
      folder.string(), stem, kind));
}

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         uint32_t{bytes[at + 3]};
}

Part read_part(const fs::path& folder, const std::string& split) {
  const fs::path images_path = require_file(folder, split + "-images", "idx3-ubyte");
  const fs::path labels_path = require_file(folder, split + "-labels", "idx1-ubyte");
  const std::vector<uint8_t> image_bytes = read_gzip(images_path, kMaxUnpacked);
  const std::vector<uint8_t> label_bytes = read_gzip(labels_path, kMaxUnpacked);
  const IdxArray images = parse_idx(image_bytes, 3, images_path.string());
  const IdxArray labels = parse_idx(label_bytes, 1, labels_path.string());
  if (images.shape[0] != labels.shape[0]) {
    throw Error(fmt::format(
        "{}: got {} labels, wanted {}, one for each image in {}. The two files "
        "do not belong together",
        labels_path.string(), labels.shape[0], images.shape[0], images_path.filename().string()));
  }
  return {{images.data.begin(), images.data.end()},
          {labels.data.begin(), labels.data.end()},
          static_cast<int>(images.shape[1]),
          static_cast<int>(images.shape[2])};
}

std::string lower_name(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return lower_case(path.filename().string());
}

std::vector<std::string> names_of(const fs::path& folder, int64_t classes) {
  if (classes == kMinClasses && lower_name(folder).find("fashion") != std::string::npos) {
    return kFashionNames;
  }
  std::vector<std::string> names;
  for (int64_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  return names;
}

}  // namespace

bool is_idx(const fs::path& folder) {
  for (const char* split : {"train", "t10k"}) {
    if (find_file(folder, std::string(split) + "-images", "idx3-ubyte")) return true;
    if (find_file(folder, std::string(split) + "-labels", "idx1-ubyte")) return true;
  }
  return false;
}

IdxArray parse_idx(std::span<const uint8_t> bytes, size_t dimensions, const std::string& name) {
  const size_t header = 4 + 4 * dimensions;
  if (bytes.size() < header) {
    throw Error(fmt::format("{}: got {} bytes, wanted an IDX header of {}. Fetch the file again",
                            name, bytes.size(), header));
  }
  const uint32_t magic = kUnsignedBytes | static_cast<uint32_t>(dimensions);
  if (const uint32_t got = big_endian(bytes, 0); got != magic) {
    throw Error(
        fmt::format("{}: got magic number {:#010x}, wanted {:#010x} (IDX, unsigned bytes, "
                    "{} dimension{}). It is a file of another kind",
                    name, got, magic, dimensions, dimensions == 1 ? "" : "s"));
  }
  IdxArray array{{}, bytes.subspan(header)};
  for (size_t d = 0; d < dimensions; ++d) array.shape.push_back(big_endian(bytes, 4 + 4 * d));
  uint64_t item = 1;
  for (size_t d = 1; d < dimensions; ++d) {
    if (array.shape[d] > kMaxSide) {
      throw Error(
          fmt::format("{}: got images of {} x {} pixels, wanted at most {} on a side. The "
                      "header is damaged: fetch the file again",
                      name, array.shape[1], array.shape[2], kMaxSide));
    }
    item *= static_cast<uint64_t>(array.shape[d]);
  }
  const uint64_t wanted = header + item * static_cast<uint64_t>(array.shape[0]);
  if (bytes.size() != wanted || wanted == header) {
    throw Error(
        fmt::format("{}: got {} bytes, wanted {} for the shape [{}] in its header, and at "
                    "least one sample. Fetch the file again",
                    name, bytes.size(), wanted, fmt::join(array.shape, ", ")));
  }
  return array;
}

DataSplits open_idx(const fs::path& folder, const ReadOptions&) {
  Part train = read_part(folder, "train"), test = read_part(folder, "t10k");
  if (train.height != test.height || train.width != test.width) {
    throw Error(
        fmt::format("{}: got test images of {} x {} pixels, wanted {} x {} as in the "
                    "training set. The files do not belong together",
                    folder.string(), test.height, test.width, train.height, train.width));
  }
  int64_t classes = kMinClasses;
  for (const Part* part : {&train, &test}) {
    classes = std::max(classes, *std::max_element(part->labels.begin(), part->labels.end()) + 1);
  }
  const std::vector<std::string> names = names_of(folder, classes);
  const auto dataset = [&](Part& part, const char* item) {
    return std::make_shared<MemoryDataset>(std::move(part.pixels), std::move(part.labels),
                                           part.height, part.width, 1, names, item);
  };
  return {dataset(train, "train image"), dataset(test, "test image")};
}

}  // namespace umbra
