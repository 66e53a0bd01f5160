// A hint for mistyped names.
#pragma once

#include <string>
#include <vector>

namespace umbra::augment {

// The candidate nearest to `name` by edits, quoted as a hint (" Did you mean 'lr'?"), or nothing.
std::string nearest_hint(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace umbra::augment
