#include "train/data/file_dataset.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/lower_case.h"
#include "train/error.h"

namespace umbra {
namespace {

// torchvision's IMG_EXTENSIONS without those we read, and GIF.
constexpr std::array<std::string_view, 6> kUnreadable = {".ppm", ".bmp",  ".pgm",
                                                         ".tif", ".tiff", ".gif"};

std::string names_or_none(const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  if (names.empty()) return "none";
  const size_t shown = std::min(names.size(), kShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

bool is_sample(const std::string& path) {
  if (augment::is_image_name(path)) return true;
  const std::string lower = lower_case(path);
  for (const std::string_view extension : kUnreadable) {
    if (!lower.ends_with(extension)) continue;
    throw Error(fmt::format("{}: got a {} file, wanted JPEG, PNG or WebP. Convert or remove it",
                            path, extension));
  }
  return false;
}

void check_same_classes(const Dataset& train, const Dataset& test, const std::string& test_path) {
  const auto &a = train.class_names(), &b = test.class_names();
  if (a == b) return;
  std::vector<std::string> missing, extra;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(missing));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(extra));
  throw Error(fmt::format(
      "{}: got {} classes, wanted the {} of the training part. Missing: {}; not in the training "
      "part: {}. Give both the same class folders",
      test_path, b.size(), a.size(), names_or_none(missing), names_or_none(extra)));
}

}  // namespace umbra
