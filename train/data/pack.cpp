#include "train/data/pack.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "augment/resize.h"
#include "train/data/parallel.h"
#include "train/data/tar.h"
#include "train/error.h"

namespace umbra {
namespace {

constexpr int64_t kChunk = 64;  // images in memory, for each thread

struct File {
  std::string name;  // without the folder
  std::vector<uint8_t> bytes;
  std::optional<BrokenSample> broken = {};
};

size_t digits_below(size_t count) { return std::to_string(std::max<size_t>(count, 1) - 1).size(); }

// The rounding of torchvision's Resize.
cv::Mat shrink(const cv::Mat& image, int64_t shorter) {
  const bool wide = image.cols > image.rows;
  const int64_t longer =
      shorter * std::max(image.cols, image.rows) / std::min(image.cols, image.rows);
  return augment::resize(image, static_cast<int>(wide ? longer : shorter),
                         static_cast<int>(wide ? shorter : longer),
                         augment::Interpolation::kBicubic);
}

File make_file(const Dataset& dataset, int64_t index, const PackOptions& options) {
  const augment::LazyImage image = dataset.open(index);
  const cv::Mat pixels = image.pixels();  // also where the file is copied: it must be sound
  const bool in_memory = image.file().empty();
  std::filesystem::path name = dataset.name(index);
  name = in_memory ? fmt::format("{:0{}}.png", index, digits_below(dataset.size()))
                   : name.filename().string();
  if (options.resize > 0 && std::min(pixels.cols, pixels.rows) > options.resize) {
    const cv::Mat small = shrink(pixels, options.resize);
    return {name.replace_extension(".jpg"), augment::encode_jpeg(small, options.quality)};
  }
  if (in_memory) return {name, augment::encode_png(pixels)};
  return {name, {image.file().begin(), image.file().end()}};
}

File try_file(const Dataset& dataset, int64_t index, const PackOptions& options) {
  try {
    return make_file(dataset, index, options);
  } catch (const augment::ImageError& error) {
    if (!options.skip_broken) {
      throw Error(fmt::format("{}: {}. Repair or remove it, or leave it out with --skip-broken",
                              dataset.name(index), error.what()));
    }
    return {"", {}, broken_sample(dataset, index, error)};
  }
}

// Files of one class may share a name, if they lay in different folders: the later ones get a
// number in front.
class MemberNames {
 public:
  std::string unique(const std::string& folder, const std::string& name) {
    std::string path = folder + "/" + name;
    for (int64_t n = 2; !used_.insert(path).second; ++n) {
      path = fmt::format("{}/{}-{}", folder, n, name);
    }
    return path;
  }

 private:
  std::unordered_set<std::string> used_;
};

}  // namespace

std::vector<std::string> folder_names(const std::vector<std::string>& class_names) {
  std::vector<std::string> names = class_names;
  for (std::string& name : names) std::replace(name.begin(), name.end(), '/', '_');
  const auto is_bad = [](const std::string& name) { return name.empty() || name[0] == '.'; };
  const auto unsorted = std::adjacent_find(names.begin(), names.end(), std::greater_equal<>());
  if (unsorted == names.end() && std::none_of(names.begin(), names.end(), is_bad)) return names;
  const size_t width = digits_below(names.size());
  for (size_t c = 0; c < names.size(); ++c) {
    const bool number = names[c] == std::to_string(c);
    names[c] = fmt::format("{:0{}}{}", c, width, number ? "" : "_" + names[c]);
  }
  return names;
}

PackResult pack(const Dataset& dataset, const std::filesystem::path& path,
                const PackOptions& options, const std::function<void(int64_t)>& progress) {
  const std::vector<std::string> folders = folder_names(dataset.class_names());
  TarWriter tar(path);
  MemberNames names;
  PackResult result;
  const int64_t step = kChunk * std::max(options.threads, 1);
  for (int64_t first = 0; first < dataset.size(); first += step) {
    std::vector<File> files(std::min(step, dataset.size() - first));
    parallel_for(static_cast<int64_t>(files.size()), options.threads,
                 [&](int64_t i) { files[i] = try_file(dataset, first + i, options); });
    for (size_t i = 0; i < files.size(); ++i) {
      const int64_t index = first + static_cast<int64_t>(i);
      if (files[i].broken) {
        result.broken.push_back(std::move(*files[i].broken));
        continue;
      }
      tar.add(names.unique(folders[dataset.label(index)], files[i].name), files[i].bytes);
      ++result.images;
    }
    if (progress) progress(first + static_cast<int64_t>(files.size()));
  }
  if (result.images == 0) throw Error(path.string() + ": not one image to write");
  tar.finish();
  return result;
}

}  // namespace umbra
