#include "train/data/image_folder.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/image.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr auto kWalk = fs::directory_options::follow_directory_symlink;

class ImageFolder : public Dataset {
 public:
  ImageFolder(fs::path root, std::vector<std::string> class_names, std::vector<std::string> files,
              std::vector<int64_t> labels)
      : root_(std::move(root)),
        class_names_(std::move(class_names)),
        files_(std::move(files)),
        labels_(std::move(labels)) {}

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  int64_t channels() const override { return 3; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return labels_.at(index); }

  cv::Mat image(int64_t index) const override {
    const fs::path path = root_ / files_.at(index);
    const std::string bytes = read_file(path);
    try {
      return augment::decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    } catch (const augment::ImageError& error) {
      throw Error(fmt::format("cannot decode {}: {}. Replace or remove the file", path.string(),
                              error.what()));
    }
  }

 private:
  fs::path root_;
  std::vector<std::string> class_names_;
  std::vector<std::string> files_;  // relative to root_
  std::vector<int64_t> labels_;
};

// Folders that other programs hide (.ipynb_checkpoints and the like) are no classes.
std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !name.starts_with('.')) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Formats that torchvision would read and we cannot: leaving them out would be a silent loss.
bool is_unreadable_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 7> kFormats = {".ppm",  ".bmp",  ".pgm", ".tif",
                                                        ".tiff", ".webp", ".gif"};
  return std::find(kFormats.begin(), kFormats.end(), extension) != kFormats.end();
}

// The images under `folder` in ImageFolder's order: folder by folder, by name inside each.
std::vector<fs::path> images_under(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, kWalk)) {
    if (!entry.is_regular_file()) continue;
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    if (augment::is_image_name(name)) {
      found.emplace_back(path.parent_path().string(), name);
    } else if (is_unreadable_image(path)) {
      throw Error(fmt::format("{}: got a {} file, wanted JPEG or PNG. Convert or remove it",
                              path.string(), path.extension().string()));
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (const auto& [parent, name] : found) paths.push_back(fs::path(parent) / name);
  return paths;
}

bool holds_images(const fs::path& folder) {
  const auto walk = fs::recursive_directory_iterator(folder, kWalk);
  return std::any_of(begin(walk), end(walk), [](const fs::directory_entry& entry) {
    return augment::is_image_name(entry.path().filename().string());
  });
}

std::shared_ptr<const Dataset> open_split(const fs::path& folder) {
  const std::vector<std::string> names = class_folders(folder);
  if (names.empty()) {
    throw Error(fmt::format("{}: got no class folders, wanted one sub-folder for each class",
                            folder.string()));
  }
  std::vector<std::string> files, empty;
  std::vector<int64_t> labels;
  for (size_t c = 0; c < names.size(); ++c) {
    const std::vector<fs::path> images = images_under(folder / names[c]);
    if (images.empty()) empty.push_back(names[c]);
    const size_t prefix = (folder / "").string().size();
    for (const fs::path& image : images) files.push_back(image.string().substr(prefix));
    labels.insert(labels.end(), images.size(), static_cast<int64_t>(c));
  }
  if (!empty.empty()) {
    throw Error(
        fmt::format("{}: got no JPEG or PNG files for the classes {}. Add some, or remove "
                    "the folders",
                    folder.string(), fmt::join(empty, ", ")));
  }
  return std::make_shared<ImageFolder>(folder, names, std::move(files), std::move(labels));
}

std::string names_or_none(const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  if (names.empty()) return "none";
  const size_t shown = std::min(names.size(), kShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

void check_same_classes(const Dataset& train, const Dataset& test, const fs::path& test_folder) {
  const auto &a = train.class_names(), &b = test.class_names();
  if (a == b) return;
  std::vector<std::string> missing, extra;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(missing));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(extra));
  throw Error(fmt::format(
      "{}: got {} classes, wanted the {} of train/. Missing: {}; not in "
      "train/: {}. Give both the same class folders",
      test_folder.string(), b.size(), a.size(), names_or_none(missing), names_or_none(extra)));
}

std::optional<fs::path> test_folder_of(const fs::path& root) {
  for (const char* name : {"val", "test"}) {
    if (fs::is_directory(root / name)) return root / name;
  }
  return std::nullopt;
}

}  // namespace

bool is_image_folder(const fs::path& root) {
  if (!fs::is_directory(root)) return false;
  if (fs::is_directory(root / "train")) return true;
  const std::vector<std::string> names = class_folders(root);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return holds_images(root / name); });
}

DataSplits open_image_folder(const fs::path& root) {
  const auto test_folder = test_folder_of(root);
  if (!fs::is_directory(root / "train")) {
    if (test_folder) {
      throw Error(fmt::format("{}: got {}/ but no train/. Add the training images as train/CLASS/",
                              root.string(), test_folder->filename().string()));
    }
    return {open_split(root), nullptr};
  }
  const auto train = open_split(root / "train");
  if (!test_folder) return {train, nullptr};
  const auto test = open_split(*test_folder);
  check_same_classes(*train, *test, *test_folder);
  return {train, test};
}

}  // namespace umbra
