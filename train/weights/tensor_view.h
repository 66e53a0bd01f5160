// Tensors that still lie in the bytes of a weight file: where, of what type and shape. No torch
// here, so that the fuzzers build fast.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace umbra {

enum class DType : uint8_t {
  kFloat64,
  kFloat32,
  kFloat16,
  kBFloat16,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool,
  kComplex64,
  kComplex128,
  kComplex32,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat8E5M2,
  kFloat8E4M3,
};

// What the types are called: torch's dtype, its old storage class, safetensors. Empty where there
// is no such name.
struct DTypeInfo {
  DType dtype;
  std::string_view torch, storage, safetensors;
  int64_t size;  // bytes of an element
};
std::span<const DTypeInfo> dtypes();
const DTypeInfo& info_of(DType dtype);

// Strides and offset count elements.
struct TensorView {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
  std::span<const uint8_t> storage;
};
using TensorViews = std::map<std::string, TensorView>;

// The strides of a tensor that lies row by row.
std::vector<int64_t> contiguous_strides(std::span<const int64_t> sizes);

// The bytes of the tensor once copied; none if it has more than 16 dimensions, or negative or
// enormous sizes.
std::optional<int64_t> byte_count(const TensorView& view);

// The same. Throws umbra::Error if there is none, or an element lies outside the storage.
int64_t checked_byte_count(const TensorView& view);

// Copies a checked view to `out`, of checked_byte_count(), row by row. Any byte but 0 becomes true.
void copy_elements(const TensorView& view, std::span<uint8_t> out);

// A foreign name for a message: no longer than a line, nothing but printable ASCII.
std::string shown(std::string_view name);

}  // namespace umbra
