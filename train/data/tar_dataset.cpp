#include "train/data/tar_dataset.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "augment/lower_case.h"
#include "train/data/file_dataset.h"
#include "train/data/tar.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxClasses = 100'000;
// The last three cannot be read; to leave them out would be a silent loss.
constexpr std::array<std::string_view, 6> kEndings = {".tar",     ".tar.gz", ".tgz",
                                                      ".tar.bz2", ".tar.xz", ".tar.zst"};

using Shards = std::vector<std::shared_ptr<const TarFile>>;

bool is_tar_name(const fs::path& path) {
  const std::string name = lower_case(path.filename().string());
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

// ---- Members

struct Image {
  size_t shard;
  TarMember member;  // its name without "./" and the like
};

// "a/b" of "./a//b"; empty for hidden files and what lies in hidden folders.
std::string tidy(const std::string& name) {
  std::string result;
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = std::string_view(name).substr(start, end - start);
    start = end + 1;
    if (part.empty() || part == ".") continue;
    if (part.starts_with('.') && part != "..") return "";
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

std::string_view folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : path.substr(0, slash);
}

// Up to the first slash.
std::string_view top_of(std::string_view path) { return path.substr(0, path.find('/')); }

// The key of a WebDataset sample, and the rest behind the dot.
std::pair<std::string, std::string> split_key(const std::string& path) {
  const size_t slash = path.rfind('/');
  const size_t dot = path.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {path, ""};
  return {path.substr(0, dot), lower_case(path.substr(dot + 1))};
}

// What a part of a data set has in its archives.
struct Contents {
  Shards shards;
  std::vector<Image> images;
  // By shard: the members that may hold labels, .cls or .json, by key.
  std::vector<std::unordered_map<std::string, TarMember>> labels;
  bool holds_tars = false;

  std::string name_of(const Image& image) const { return name_of(image.shard, image.member); }
  std::string name_of(size_t shard, const TarMember& member) const {
    return (shards[shard]->path() / member.name).string();
  }
};

// Adds the members of shard `s`.
void list_members(Contents& contents, size_t s) {
  for (TarMember& member : contents.shards[s]->list()) {
    member.name = tidy(member.name);
    if (member.name.empty()) continue;
    const auto [key, extension] = split_key(member.name);
    if (extension == "cls") {
      contents.labels[s].insert_or_assign(key, std::move(member));
    } else if (extension == "json") {
      contents.labels[s].try_emplace(key, std::move(member));
    } else if (is_sample(contents.name_of(s, member))) {
      contents.images.push_back({s, std::move(member)});
    } else if (is_tar_name(member.name)) {
      contents.holds_tars = true;
    }
  }
}

Contents open_shards(const std::vector<fs::path>& paths) {
  Contents contents;
  for (const fs::path& path : paths) {
    contents.shards.push_back(std::make_shared<TarFile>(path));
    contents.labels.emplace_back();
    list_members(contents, contents.shards.size() - 1);
  }
  if (!contents.images.empty()) return contents;
  throw Error(fmt::format("{}: got no JPEG, PNG or WebP files{}", paths[0].string(),
                          contents.holds_tars
                              ? ", but tar files inside: unpack them into folders named after "
                                "the classes"
                              : ". Add some"));
}

// ---- Labels

std::optional<int64_t> parse_class(std::string_view text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)); };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> parse_json_class(std::string_view text) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return std::nullopt;
  for (const char* key : {"label", "cls"}) {
    const auto value = object.find(key);
    if (value != object.end() && value->is_number_integer()) return value->get<int64_t>();
  }
  return std::nullopt;
}

std::string text_of(const Contents& contents, size_t shard, const TarMember& member) {
  const std::vector<uint8_t> bytes = contents.shards[shard]->read(member);
  return {bytes.begin(), bytes.end()};
}

bool is_json(const TarMember& member) { return split_key(member.name).second == "json"; }

int64_t read_label(const Contents& contents, size_t shard, const TarMember& member) {
  const std::string text = text_of(contents, shard, member);
  const bool json = is_json(member);
  const auto label = json ? parse_json_class(text) : parse_class(text);
  if (label && *label >= 0 && *label < kMaxClasses) return *label;
  throw Error(fmt::format("{}: got {}, wanted {} from 0 to {}", contents.name_of(shard, member),
                          label ? std::to_string(*label) : "no class number",
                          json ? "an object whose \"label\" or \"cls\" is a number" : "one number",
                          kMaxClasses - 1));
}

// True if an image has a label beside it. A .json file may be there for other reasons: the first
// one tells.
bool is_webdataset(const Contents& contents) {
  for (const Image& image : contents.images) {
    const auto& beside = contents.labels[image.shard];
    const auto found = beside.find(split_key(image.member.name).first);
    if (found == beside.end()) continue;
    const TarMember& member = found->second;
    return !is_json(member) || parse_json_class(text_of(contents, image.shard, member)).has_value();
  }
  return false;
}

// The label of each image. Images such as KEY.mask.png, whose extension is more than one word, are
// no samples, and removed.
std::vector<int64_t> webdataset_labels(Contents& contents) {
  std::vector<int64_t> labels;
  std::vector<Image> samples;
  std::vector<std::unordered_set<std::string_view>> used(contents.shards.size());
  for (Image& image : contents.images) {
    const auto [key, extension] = split_key(image.member.name);
    if (extension.find('.') != std::string::npos) continue;
    const auto& beside = contents.labels[image.shard];
    const auto found = beside.find(key);
    if (found == beside.end()) {
      throw Error(fmt::format("{}: the sample has no label, wanted {}.cls or {}.json beside it",
                              contents.name_of(image), key, key));
    }
    if (!used[image.shard].insert(found->first).second) {
      throw Error(fmt::format("{}: the sample {} has two images, wanted one",
                              contents.name_of(image), key));
    }
    labels.push_back(read_label(contents, image.shard, found->second));
    samples.push_back(std::move(image));
  }
  for (size_t s = 0; s < used.size(); ++s) {
    for (const auto& [key, member] : contents.labels[s]) {
      if (is_json(member) || used[s].contains(key)) continue;
      throw Error(fmt::format("{}: the sample has a label, but no JPEG, PNG or WebP image",
                              contents.name_of(s, member)));
    }
  }
  contents.images = std::move(samples);
  return labels;
}

// ---- Class folders

// The length of the folders that all images share, with the slash; but the folder that an image
// lies in is its class.
size_t shared_prefix(const std::vector<Image>& images) {
  std::string shared(folder_of(folder_of(images[0].member.name)));
  for (const Image& image : images) {
    const std::string_view folder = folder_of(folder_of(image.member.name));
    while (!shared.empty() && folder != shared && !folder.starts_with(shared + "/")) {
      shared = folder_of(shared);
    }
  }
  return shared.empty() ? 0 : shared.size() + 1;
}

// Files that were put into an archive again replace the earlier ones.
void drop_replaced(std::vector<Image>& images) {
  const auto replaces = [](const Image& a, const Image& b) {
    return a.shard == b.shard && a.member.name == b.member.name;
  };
  std::reverse(images.begin(), images.end());
  images.erase(std::unique(images.begin(), images.end(), replaces), images.end());
  std::reverse(images.begin(), images.end());
}

// Puts the images into ImageFolder's order; their classes.
std::vector<std::string> sort_into_classes(Contents& contents, std::vector<int64_t>& labels) {
  const size_t prefix = shared_prefix(contents.images);
  const auto class_of = [&](const Image& image) {
    return top_of(std::string_view(image.member.name).substr(prefix));
  };
  const auto rank = [&](const Image& image) {
    const std::string_view name = image.member.name, folder = folder_of(name);
    return std::tuple(class_of(image), folder,
                      name.substr(std::min(name.size(), folder.size() + 1)), image.shard,
                      image.member.offset);
  };
  for (const Image& image : contents.images) {
    if (image.member.name.find('/', prefix) != std::string::npos) continue;
    throw Error(
        fmt::format("{}: the image lies in no class folder and has no label (.cls or "
                    ".json) beside it",
                    contents.name_of(image)));
  }
  std::sort(contents.images.begin(), contents.images.end(),
            [&](const Image& a, const Image& b) { return rank(a) < rank(b); });
  drop_replaced(contents.images);
  std::vector<std::string> names;
  for (const Image& image : contents.images) {
    const std::string_view name = class_of(image);
    if (names.empty() || names.back() != name) names.emplace_back(name);
    labels.push_back(static_cast<int64_t>(names.size()) - 1);
  }
  return names;
}

// ---- The data set

class TarDataset : public FileDataset {
 public:
  TarDataset(Shards shards, std::vector<Image> images, std::vector<std::string> class_names,
             std::vector<int64_t> labels, const ReadOptions& read)
      : FileDataset(std::move(class_names), std::move(labels), read),
        shards_(std::move(shards)),
        images_(std::move(images)) {}

  std::string name(int64_t index) const override {
    const Image& image = images_.at(index);
    return (shards_[image.shard]->path() / image.member.name).string();
  }

 private:
  std::vector<uint8_t> read(int64_t index) const override {
    const Image& image = images_.at(index);
    return shards_[image.shard]->read(image.member);
  }

  Shards shards_;
  std::vector<Image> images_;
};

// A part with its labels; the classes of WebDataset samples are known when both parts are.
struct Part {
  Contents contents;
  std::vector<int64_t> labels;
  std::vector<std::string> class_names;  // of class folders

  bool numbered() const { return class_names.empty(); }
};

Part label(Contents contents) {
  Part part;
  part.contents = std::move(contents);
  if (is_webdataset(part.contents)) {
    part.labels = webdataset_labels(part.contents);
  } else {
    part.class_names = sort_into_classes(part.contents, part.labels);
  }
  return part;
}

DataSplits to_splits(Contents train_contents, std::optional<Contents> test_contents,
                     const ReadOptions& read) {
  Part train = label(std::move(train_contents));
  std::optional<Part> test;
  if (test_contents) test = label(std::move(*test_contents));
  if (test && test->numbered() != train.numbered()) {
    throw Error(fmt::format("{}: one part has class folders, the other WebDataset samples",
                            test->contents.shards[0]->path().string()));
  }
  int64_t classes = 0;
  for (const Part* part : {&train, test ? &*test : &train}) {
    for (const int64_t l : part->labels) classes = std::max(classes, l + 1);
  }
  const auto dataset = [&](Part& part) {
    if (part.numbered()) {
      for (int64_t c = 0; c < classes; ++c) part.class_names.push_back(std::to_string(c));
    }
    return std::make_shared<TarDataset>(part.contents.shards, std::move(part.contents.images),
                                        std::move(part.class_names), std::move(part.labels), read);
  };
  DataSplits splits{dataset(train), nullptr};
  if (test) {
    splits.test = dataset(*test);
    check_same_classes(*splits.train, *splits.test, test->contents.shards[0]->path().string());
  }
  return splits;
}

std::vector<fs::path> tar_files(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && is_tar_name(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// The folder's tar files by the part they are named after.
std::map<std::string, std::vector<fs::path>> find_shards(const fs::path& folder) {
  std::map<std::string, std::vector<fs::path>> shards;
  for (const fs::path& path : tar_files(folder)) {
    const std::set<std::string> parts = tar_parts(path);
    if (parts.size() > 1) {
      throw Error(fmt::format("{}: the name has the words {}, wanted one of them", path.string(),
                              fmt::join(parts, " and ")));
    }
    if (parts.empty()) {
      throw Error(
          fmt::format("{}: the name has none of the words train, val and test, which tell "
                      "the part. Rename it, or move it away",
                      path.string()));
    }
    shards[*parts.begin()].push_back(path);
  }
  return shards;
}

// What lies below the folder `part`, of an archive that holds several parts.
Contents take_part(const Contents& contents, size_t prefix, std::string_view part) {
  const auto inside = [&](const TarMember& member) {
    return member.name.size() > prefix &&
           top_of(std::string_view(member.name).substr(prefix)) == part;
  };
  Contents taken{contents.shards, {}, {{}}};
  for (const Image& image : contents.images) {
    if (inside(image.member)) taken.images.push_back(image);
  }
  for (const auto& label : contents.labels[0]) {
    if (inside(label.second)) taken.labels[0].insert(label);
  }
  return taken;
}

DataSplits open_file(const fs::path& path, const ReadOptions& read) {
  Contents contents = open_shards({path});
  const size_t prefix = shared_prefix(contents.images);
  const Contents train = take_part(contents, prefix, "train");
  for (const char* name : {"val", "test"}) {
    Contents test = take_part(contents, prefix, name);
    if (!train.images.empty() && !test.images.empty()) return to_splits(train, test, read);
  }
  return to_splits(std::move(contents), std::nullopt, read);
}

}  // namespace

std::set<std::string> tar_parts(const fs::path& path) {
  static const std::map<std::string, std::string> kWords = {{"train", "train"},
                                                            {"val", "val"},
                                                            {"valid", "val"},
                                                            {"validation", "val"},
                                                            {"test", "test"}};
  const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0; };
  const std::string name = lower_case(path.filename().string());
  std::set<std::string> parts;
  for (auto at = name.begin(); at != name.end();) {
    at = std::find_if(at, name.end(), is_letter);
    const auto end = std::find_if_not(at, name.end(), is_letter);
    const auto word = kWords.find(std::string(at, end));
    if (word != kWords.end()) parts.insert(word->second);
    at = end;
  }
  return parts;
}

bool is_tar(const fs::path& path) {
  if (fs::is_directory(path)) {
    const std::vector<fs::path> files = tar_files(path);
    return std::any_of(files.begin(), files.end(),
                       [](const fs::path& file) { return !tar_parts(file).empty(); });
  }
  return fs::is_regular_file(path) && is_tar_name(path);
}

DataSplits open_tar(const fs::path& path, const ReadOptions& read) {
  if (fs::is_regular_file(path)) return open_file(path, read);
  const auto shards = find_shards(path);
  if (!shards.contains("train")) {
    throw Error(
        fmt::format("{}: got no tar file with the word train in its name. Add the training "
                    "images as NAME-train.tar",
                    path.string()));
  }
  for (const char* part : {"val", "test"}) {
    if (!shards.contains(part)) continue;
    return to_splits(open_shards(shards.at("train")), open_shards(shards.at(part)), read);
  }
  return to_splits(open_shards(shards.at("train")), std::nullopt, read);
}

}  // namespace umbra
