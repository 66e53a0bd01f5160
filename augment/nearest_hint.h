// A hint for mistyped names.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace umbra::augment {

// The candidate nearest to `name` by edits, unless it is too far off to be meant.
std::optional<std::string> nearest_name(const std::string& name,
                                        const std::vector<std::string>& candidates);

// The same, quoted as a hint (" Did you mean 'lr'?"), or nothing.
std::string nearest_hint(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace umbra::augment
