#include "train/data/idx.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include <fmt/format.h>
#include <zlib.h>

#include "train/data/memory_dataset.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImagesMagic = 0x00000803;  // unsigned bytes, three dimensions
constexpr uint32_t kLabelsMagic = 0x00000801;  // unsigned bytes, one dimension
constexpr int64_t kMaxSide = 1 << 15;
constexpr int64_t kMinClasses = 10;

const std::vector<std::string> kFashionNames = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                "Bag",         "Ankle boot"};

struct IdxFile {
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;
};

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

// Reads plain files, too: zlib passes them through.
std::vector<uint8_t> read_gz(const fs::path& path) {
  constexpr size_t kChunk = 1 << 20;
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) throw Error(fmt::format("cannot open {}: check that it may be read", path.string()));
  std::vector<uint8_t> bytes;
  size_t used = 0;
  for (int got = 1; got > 0; used += static_cast<size_t>(std::max(got, 0))) {
    if (bytes.size() < used + kChunk) bytes.resize(std::max(2 * bytes.size(), used + kChunk));
    got = gzread(file, bytes.data() + used, kChunk);
  }
  bytes.resize(used);
  int code = Z_OK;
  const std::string reason = gzerror(file, &code);
  gzclose_r(file);
  if (code != Z_OK) {
    throw Error(fmt::format("{}: damaged after {} unpacked bytes ({}). Fetch the file again",
                            path.string(), used, reason));
  }
  return bytes;
}

uint32_t big_endian(const std::vector<uint8_t>& bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         uint32_t{bytes[at + 3]};
}

IdxFile read_idx(const fs::path& path, uint32_t magic) {
  const size_t dimensions = magic & 0xFF, header = 4 + 4 * dimensions;
  IdxFile file{{}, read_gz(path)};
  if (file.data.size() < header) {
    throw Error(fmt::format("{}: got {} bytes, wanted an IDX header of {}. Fetch the file again",
                            path.string(), file.data.size(), header));
  }
  if (const uint32_t got = big_endian(file.data, 0); got != magic) {
    throw Error(
        fmt::format("{}: got magic number {:#010x}, wanted {:#010x} (IDX, unsigned bytes, "
                    "{} dimension{}). It is a file of another kind",
                    path.string(), got, magic, dimensions, dimensions == 1 ? "" : "s"));
  }
  for (size_t d = 0; d < dimensions; ++d) file.shape.push_back(big_endian(file.data, 4 + 4 * d));
  if (dimensions == 3 && std::max(file.shape[1], file.shape[2]) > kMaxSide) {
    throw Error(
        fmt::format("{}: got images of {} x {} pixels, wanted at most {} on a side. The "
                    "header is damaged: fetch the file again",
                    path.string(), file.shape[1], file.shape[2], kMaxSide));
  }
  uint64_t wanted = header, item = 1;
  for (size_t d = 1; d < dimensions; ++d) item *= static_cast<uint64_t>(file.shape[d]);
  wanted += item * static_cast<uint64_t>(file.shape[0]);
  if (file.data.size() != wanted || wanted == header) {
    throw Error(
        fmt::format("{}: got {} bytes, wanted {} for the shape [{}] in its header, and at "
                    "least one sample. Fetch the file again",
                    path.string(), file.data.size(), wanted, fmt::join(file.shape, ", ")));
  }
  file.data.erase(file.data.begin(), file.data.begin() + static_cast<std::ptrdiff_t>(header));
  return file;
}

Part read_part(const fs::path& folder, const std::string& split) {
  const fs::path images_path = require_file(folder, split + "-images", "idx3-ubyte");
  const fs::path labels_path = require_file(folder, split + "-labels", "idx1-ubyte");
  IdxFile images = read_idx(images_path, kImagesMagic);
  const IdxFile labels = read_idx(labels_path, kLabelsMagic);
  if (images.shape[0] != labels.shape[0]) {
    throw Error(fmt::format(
        "{}: got {} labels, wanted {}, one for each image in {}. The two files "
        "do not belong together",
        labels_path.string(), labels.shape[0], images.shape[0], images_path.filename().string()));
  }
  return {std::move(images.data),
          {labels.data.begin(), labels.data.end()},
          static_cast<int>(images.shape[1]),
          static_cast<int>(images.shape[2])};
}

std::string lower_name(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
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

DataSplits open_idx(const fs::path& folder) {
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
  const auto dataset = [&](Part& part) {
    return std::make_shared<MemoryDataset>(std::move(part.pixels), std::move(part.labels),
                                           part.height, part.width, 1, names);
  };
  return {dataset(train), dataset(test)};
}

}  // namespace umbra
