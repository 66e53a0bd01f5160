#pragma once

#include <algorithm>
#include <cctype>
#include <string>

namespace umbra {

// ASCII letters in lower case; file names and endings are compared so.
inline std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace umbra
