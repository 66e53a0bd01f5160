// Class names of well-known sets, for models that come without their data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace umbra {

struct KnownClasses {
  std::string_view set;  // "imagenet", "cifar10", ...
  int64_t count;
  std::string_view names;  // in label order, each with a newline behind it
};
std::span<const KnownClasses> known_classes();

// Class names in label order: of the known set that `source` names, else the lines of the file of
// that name. Throws umbra::Error if it is neither.
std::vector<std::string> read_class_names(const std::string& source);

}  // namespace umbra
