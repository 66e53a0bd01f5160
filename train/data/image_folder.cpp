#include "train/data/image_folder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/image.h"
#include "train/data/file_dataset.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr auto kWalk = fs::directory_options::follow_directory_symlink;

class FolderDataset : public FileDataset {
 public:
  FolderDataset(fs::path root, std::vector<std::string> files, std::vector<std::string> class_names,
                std::vector<int64_t> labels, const ReadOptions& read)
      : FileDataset(std::move(class_names), std::move(labels), read),
        root_(std::move(root)),
        files_(std::move(files)) {}

  std::string name(int64_t index) const override { return path(index).string(); }

 private:
  fs::path path(int64_t index) const { return root_ / files_.at(index); }
  std::vector<uint8_t> read(int64_t index) const override { return read_bytes(path(index)); }

  fs::path root_;
  std::vector<std::string> files_;  // relative to root_
};

// What other programs hide (.ipynb_checkpoints, ._photo.jpg and the like) is no class and no image.
bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !is_hidden(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The images under `folder` in ImageFolder's order: folder by folder, by name inside each.
std::vector<fs::path> images_under(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, kWalk)) {
    if (!entry.is_regular_file()) continue;
    const fs::path& path = entry.path();
    if (is_hidden(path)) continue;
    if (is_sample(path.string())) {
      found.emplace_back(path.parent_path().string(), path.filename().string());
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

std::optional<fs::path> test_folder_of(const fs::path& root) {
  for (const char* name : {"val", "test"}) {
    if (fs::is_directory(root / name)) return root / name;
  }
  return std::nullopt;
}

}  // namespace

std::shared_ptr<const Dataset> open_files(const fs::path& root, std::vector<std::string> files,
                                          std::vector<std::string> class_names,
                                          std::vector<int64_t> labels, const ReadOptions& read) {
  return std::make_shared<FolderDataset>(root, std::move(files), std::move(class_names),
                                         std::move(labels), read);
}

std::shared_ptr<const Dataset> open_class_folders(const fs::path& folder, const ReadOptions& read) {
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
    constexpr size_t kShown = 8;
    const std::string more =
        empty.size() > kShown ? fmt::format(" and {} more", empty.size() - kShown) : "";
    empty.resize(std::min(empty.size(), kShown));
    throw Error(
        fmt::format("{}: got no JPEG, PNG or WebP files for the classes {}{}. Add some, or "
                    "remove the folders",
                    folder.string(), fmt::join(empty, ", "), more));
  }
  return open_files(folder, std::move(files), names, std::move(labels), read);
}

bool is_image_folder(const fs::path& root) {
  if (!fs::is_directory(root)) return false;
  if (fs::is_directory(root / "train")) return true;
  const std::vector<std::string> names = class_folders(root);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return holds_images(root / name); });
}

DataSplits open_image_folder(const fs::path& root, const ReadOptions& read) {
  const auto test_folder = test_folder_of(root);
  if (!fs::is_directory(root / "train")) {
    if (test_folder) {
      throw Error(fmt::format("{}: got {}/ but no train/. Add the training images as train/CLASS/",
                              root.string(), test_folder->filename().string()));
    }
    return {open_class_folders(root, read), nullptr};
  }
  const auto train = open_class_folders(root / "train", read);
  if (!test_folder) return {train, nullptr};
  const auto test = open_class_folders(*test_folder, read);
  check_same_classes(*train, *test, test_folder->string());
  return {train, test};
}

}  // namespace umbra
