#include "train/data/known_classes.h"

#include <fstream>
#include <sstream>

#include "train/error.h"

namespace umbra {
namespace {

std::vector<std::string> lines_of(std::istream& text) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

std::vector<std::string> read_class_names(const std::string& source) {
  std::vector<std::string_view> sets;
  for (const KnownClasses& known : known_classes()) {
    sets.push_back(known.set);
    if (known.set != source) continue;
    std::istringstream text{std::string(known.names)};
    return lines_of(text);
  }
  std::ifstream file(source);
  std::vector<std::string> names = lines_of(file);
  if (names.empty()) {
    throw Error(fmt::format("{}: neither a file with class names, one on each line, nor one of {}",
                            source, fmt::join(sets, ", ")));
  }
  return names;
}

}  // namespace umbra
