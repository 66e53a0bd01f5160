#include "train/data/cifar.h"

#include <algorithm>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "train/data/memory_dataset.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32;
constexpr int64_t kImage = 3 * kSide * kSide;

struct Layout {
  std::string name, subfolder;
  std::vector<std::string> train_files;
  std::string test_file, names_file;
  int64_t classes, label_bytes;  // the last label byte is the one that counts
};

const Layout kCifar10 = {"CIFAR-10",
                         "cifar-10-batches-bin",
                         {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                          "data_batch_4.bin", "data_batch_5.bin"},
                         "test_batch.bin",
                         "batches.meta.txt",
                         10,
                         1};
const Layout kCifar100 = {
    "CIFAR-100", "cifar-100-binary", {"train.bin"}, "test.bin", "fine_label_names.txt", 100, 2};

// The folder itself or its subfolder: whichever holds any of the files.
std::optional<fs::path> find_files(const fs::path& folder, const Layout& layout) {
  for (const fs::path& path : {folder, folder / layout.subfolder}) {
    std::vector<std::string> files = layout.train_files;
    files.push_back(layout.test_file);
    const auto exists = [&](const std::string& file) { return fs::is_regular_file(path / file); };
    if (std::any_of(files.begin(), files.end(), exists)) return path;
  }
  return std::nullopt;
}

std::vector<uint8_t> read_part(const fs::path& path, const Layout& layout) {
  if (fs::is_regular_file(path)) return read_bytes(path);
  throw Error(
      fmt::format("{} is missing. The binary version of {} has the files {}, {} and {}: "
                  "unpack its archive again",
                  path.string(), layout.name, fmt::join(layout.train_files, ", "), layout.test_file,
                  layout.names_file));
}

std::vector<std::string> read_names(const fs::path& path, const Layout& layout) {
  std::istringstream text(read_file(path));
  std::vector<std::string> names;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (static_cast<int64_t>(names.size()) != layout.classes) {
    throw Error(fmt::format("{}: got {} class names, wanted {}. Unpack the archive again",
                            path.string(), names.size(), layout.classes));
  }
  return names;
}

DataSplits open(const fs::path& folder, const Layout& layout) {
  const auto files = find_files(folder, layout);
  if (!files) {
    throw Error(
        fmt::format("{0}: neither {0} nor its subfolder {1} holds {2}. Unpack the binary "
                    "version of {3} there",
                    folder.string(), layout.subfolder, layout.train_files[0], layout.name));
  }
  const std::vector<std::string> names = read_names(*files / layout.names_file, layout);
  const auto load = [&](const std::vector<std::string>& parts, const char* item) {
    PlanarSamples all;
    int64_t wanted = 0;
    for (const std::string& part : parts) {
      const fs::path path = *files / part;
      const int64_t got = append_cifar(read_part(path, layout), layout.classes, path.string(), all);
      if (wanted == 0) wanted = got;
      if (got != wanted) {
        throw Error(
            fmt::format("{}: got {} records, wanted {} as in {}. A file is truncated: "
                        "unpack the archive again",
                        path.string(), got, wanted, parts[0]));
      }
    }
    return std::make_shared<MemoryDataset>(std::move(all.pixels), std::move(all.labels), kSide,
                                           kSide, 3, names, item);
  };
  return {load(layout.train_files, "train image"), load({layout.test_file}, "test image")};
}

}  // namespace

bool is_cifar10(const fs::path& folder) { return find_files(folder, kCifar10).has_value(); }
bool is_cifar100(const fs::path& folder) { return find_files(folder, kCifar100).has_value(); }

DataSplits open_cifar10(const fs::path& folder, const ReadOptions&) {
  return open(folder, kCifar10);
}
DataSplits open_cifar100(const fs::path& folder, const ReadOptions&) {
  return open(folder, kCifar100);
}

int64_t append_cifar(std::span<const uint8_t> bytes, int64_t classes, const std::string& name,
                     PlanarSamples& samples) {
  const Layout& layout = classes == kCifar10.classes ? kCifar10 : kCifar100;
  const int64_t record = layout.label_bytes + kImage;
  const auto size = static_cast<int64_t>(bytes.size());
  if (size == 0 || size % record != 0) {
    throw Error(
        fmt::format("{}: got {} bytes, wanted a multiple of {} ({} binary records). The "
                    "file is truncated or of another kind: unpack the archive again",
                    name, size, record, layout.name));
  }
  const int64_t count = size / record;
  samples.pixels.reserve(samples.pixels.size() + count * kImage);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* planes = bytes.data() + i * record + layout.label_bytes;
    const int64_t label = planes[-1];
    if (label >= layout.classes) {
      throw Error(
          fmt::format("{}: got label {} in record {}, wanted one below {}. The file is "
                      "damaged or not {}",
                      name, label, i, layout.classes, layout.name));
    }
    samples.labels.push_back(label);
    samples.append_image(planes, kSide, kSide, 1);
  }
  return count;
}

}  // namespace umbra
