#include "train/data/tiny_imagenet.h"

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "train/data/file_dataset.h"
#include "train/data/image_folder.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

// The root itself or its subfolder: whichever has the val/ folder of the published archive.
std::optional<fs::path> find_root(const fs::path& root) {
  for (const fs::path& path : {root, root / "tiny-imagenet-200"}) {
    if (!fs::is_directory(path / "val/images")) continue;
    if (fs::exists(path / "val/val_annotations.txt") || fs::exists(path / "wnids.txt")) return path;
  }
  return std::nullopt;
}

void check_ids(const fs::path& path, const std::vector<std::string>& class_names) {
  std::istringstream text(read_file(path));
  std::set<std::string> listed;
  for (std::string id; text >> id;) listed.insert(id);
  for (const std::string& id : listed) {
    if (std::binary_search(class_names.begin(), class_names.end(), id)) continue;
    throw Error(fmt::format("{}: lists {}, which has no folder in train/. Unpack the archive again",
                            path.string(), id));
  }
  for (const std::string& id : class_names) {
    if (listed.contains(id)) continue;
    throw Error(
        fmt::format("{}: does not list {}, which has a folder in train/. Unpack the "
                    "archive again",
                    path.string(), id));
  }
}

struct Annotation {
  int64_t label;
  std::string file;
  auto operator<=>(const Annotation&) const = default;
};

// Lines of file, WordNet id and bounding box, separated by tabs.
std::vector<Annotation> read_annotations(const fs::path& path,
                                         const std::vector<std::string>& class_names) {
  std::istringstream text(read_file(path));
  std::vector<Annotation> annotations;
  int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.find_first_not_of("\r \t") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string file, id;
    if (!std::getline(fields, file, '\t') || !(fields >> id) || file.empty()) {
      throw Error(
          fmt::format("{}:{}: got \"{}\", wanted a file and a WordNet id, separated by a "
                      "tab. Unpack the archive again",
                      path.string(), number, line));
    }
    const auto found = std::lower_bound(class_names.begin(), class_names.end(), id);
    if (found == class_names.end() || *found != id) {
      throw Error(
          fmt::format("{}:{}: got the class {}, which has no folder in train/. Unpack the "
                      "archive again",
                      path.string(), number, id));
    }
    annotations.push_back({found - class_names.begin(), file});
  }
  std::sort(annotations.begin(), annotations.end());
  return annotations;
}

// Every image must have exactly one label, and every label its image.
void check_files(const fs::path& list, const fs::path& folder,
                 const std::vector<Annotation>& annotations) {
  std::set<std::string> unlabelled;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (is_sample(entry.path().string())) unlabelled.insert(entry.path().filename().string());
  }
  for (const Annotation& annotation : annotations) {
    if (unlabelled.erase(annotation.file) == 1) continue;
    throw Error(
        fmt::format("{}: lists {}, which is missing from {} or listed twice. Unpack the "
                    "archive again",
                    list.string(), annotation.file, folder.string()));
  }
  if (unlabelled.empty() && !annotations.empty()) return;
  throw Error(fmt::format("{}: has no line for {}. Unpack the archive again", list.string(),
                          unlabelled.empty() ? "any image" : *unlabelled.begin()));
}

}  // namespace

bool is_tiny_imagenet(const fs::path& root) { return find_root(root).has_value(); }

DataSplits open_tiny_imagenet(const fs::path& root, const ReadOptions& read) {
  const auto found = find_root(root);
  if (!found || !fs::is_directory(*found / "train")) {
    throw Error(
        fmt::format("{}: got no train/ and val/images/ with val/val_annotations.txt, here "
                    "or in tiny-imagenet-200/. Unpack the archive there",
                    root.string()));
  }
  const auto train = open_class_folders(*found / "train", read);
  const std::vector<std::string>& names = train->class_names();
  if (const fs::path ids = *found / "wnids.txt"; fs::exists(ids)) check_ids(ids, names);
  const fs::path list = *found / "val/val_annotations.txt", images = *found / "val/images";
  const std::vector<Annotation> annotations = read_annotations(list, names);
  check_files(list, images, annotations);
  std::vector<std::string> files;
  std::vector<int64_t> labels;
  for (const Annotation& annotation : annotations) {
    files.push_back(annotation.file);
    labels.push_back(annotation.label);
  }
  return {train, open_files(images, std::move(files), names, std::move(labels), read)};
}

}  // namespace umbra
