#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace umbra {

// JSON as text, on one line or indented. Names of files and classes need not be UTF-8: bytes that
// are not are replaced.
inline std::string json_text(const nlohmann::json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

}  // namespace umbra
