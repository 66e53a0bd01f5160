#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "train/error.h"
#include "train/weights/views.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr int kMaxDepth = 3;                  // {"name": {"shape": [...]}}

[[noreturn]] void broken(const std::string& what) {
  throw Error(fmt::format("not a valid safetensors file: {}. Fetch or save it again", what));
}

std::optional<DType> dtype_of(const std::string& name) {
  for (const DTypeInfo& info : dtypes()) {
    if (!info.safetensors.empty() && name == info.safetensors) return info.dtype;
  }
  return std::nullopt;
}

// Refuses names that come twice, of which a JSON object would keep one, and
// depth that no header has.
Json parse_header(std::span<const uint8_t> header) {
  std::vector<std::set<std::string>> seen(kMaxDepth + 1);
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kMaxDepth) broken("its header nests too deeply");
    if (event == Event::object_start) seen[static_cast<size_t>(depth) + 1].clear();
    if (event != Event::key) return true;
    const auto name = parsed.get<std::string>();
    if (!seen.at(static_cast<size_t>(depth)).insert(name).second) {
      broken(fmt::format("'{}' comes twice in its header", shown(name)));
    }
    return true;
  };
  Json json = Json::parse(header.begin(), header.end(), check,
                          /*allow_exceptions=*/false);
  if (!json.is_object()) broken("its header is not a JSON object");
  return json;
}

std::optional<uint64_t> whole_number(const Json& json) {
  return json.is_number_unsigned() ? std::optional(json.get<uint64_t>()) : std::nullopt;
}

// A tensor and the range of its bytes in the data.
struct Entry {
  std::string name;
  TensorView view;
  uint64_t begin = 0, end = 0;
};

// Part of a tensor's entry; null where it is not there.
Json part_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found == json.end() ? Json() : *found;
}

void parse_shape(Entry& entry, const Json& shape) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  for (const Json& side : shape) {
    const auto size = whole_number(side);
    if (!size || *size > kMax) {
      broken(fmt::format("'{}' has an impossible shape", shown(entry.name)));
    }
    entry.view.sizes.push_back(static_cast<int64_t>(*size));
  }
  entry.view.strides = contiguous_strides(entry.view.sizes);
}

Entry parse_entry(const std::string& name, const Json& json) {
  const Json type = part_of(json, "dtype"), shape = part_of(json, "shape"),
             offsets = part_of(json, "data_offsets");
  const bool pair = offsets.is_array() && offsets.size() == 2;
  const auto begin = pair ? whole_number(offsets[0]) : std::nullopt;
  const auto end = pair ? whole_number(offsets[1]) : std::nullopt;
  if (!type.is_string() || !shape.is_array() || !begin || !end) {
    broken(fmt::format("the entry of '{}' lacks dtype, shape or data_offsets", shown(name)));
  }
  const auto dtype = dtype_of(type.get<std::string>());
  if (!dtype) {
    broken(fmt::format("'{}' has the unknown dtype {}", shown(name), shown(type.dump())));
  }
  Entry entry;
  entry.name = name;
  entry.view.dtype = *dtype;
  entry.begin = *begin;
  entry.end = *end;
  parse_shape(entry, shape);
  return entry;
}

// Sets the bytes of the tensor, which must be as many as its shape says.
void place(Entry& entry, std::span<const uint8_t> data) {
  const uint64_t begin = entry.begin, end = entry.end;
  const bool inside = begin <= end && end <= data.size();
  entry.view.storage = inside ? data.subspan(begin, end - begin) : data.first(0);
  const auto wanted = byte_count(entry.view);
  if (!wanted) broken(fmt::format("'{}' has an impossible shape", shown(entry.name)));
  if (inside && static_cast<uint64_t>(*wanted) == end - begin) return;
  broken(fmt::format("'{}' wants {} bytes at [{}, {}) of {}", shown(entry.name), *wanted, begin,
                     end, data.size()));
}

}  // namespace

TensorViews view_safetensors(std::span<const uint8_t> file) {
  if (file.size() < 8) broken(fmt::format("only {} bytes long", file.size()));
  uint64_t header_size = 0;
  for (size_t i = 8; i-- > 0;) header_size = header_size << 8 | file[i];
  if (header_size > file.size() - 8 || header_size > kMaxHeader) {
    broken(fmt::format("header of {} bytes in a file of {}", header_size, file.size()));
  }
  const Json json = parse_header(file.subspan(8, header_size));
  const auto data = file.subspan(8 + header_size);
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    entries.push_back(parse_entry(name, value));
    place(entries.back(), data);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  TensorViews views;
  uint64_t position = 0;
  for (Entry& entry : entries) {
    if (entry.begin != position) {
      broken(
          fmt::format("'{}' starts at {} instead of {}", shown(entry.name), entry.begin, position));
    }
    position = entry.end;
    views.emplace(entry.name, std::move(entry.view));
  }
  if (position != data.size()) {
    broken(fmt::format("{} bytes belong to no tensor", data.size() - position));
  }
  return views;
}

}  // namespace umbra
