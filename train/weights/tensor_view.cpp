#include "train/weights/tensor_view.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "train/error.h"

namespace umbra {
namespace {

constexpr size_t kMaxDims = 16;

constexpr std::array<DTypeInfo, 18> kDTypes = {{
    {DType::kFloat64, "float64", "DoubleStorage", "F64", 8},
    {DType::kFloat32, "float32", "FloatStorage", "F32", 4},
    {DType::kFloat16, "float16", "HalfStorage", "F16", 2},
    {DType::kBFloat16, "bfloat16", "BFloat16Storage", "BF16", 2},
    {DType::kInt64, "int64", "LongStorage", "I64", 8},
    {DType::kInt32, "int32", "IntStorage", "I32", 4},
    {DType::kInt16, "int16", "ShortStorage", "I16", 2},
    {DType::kInt8, "int8", "CharStorage", "I8", 1},
    {DType::kUInt8, "uint8", "ByteStorage", "U8", 1},
    {DType::kBool, "bool", "BoolStorage", "BOOL", 1},
    {DType::kComplex64, "complex64", "ComplexFloatStorage", "C64", 8},
    {DType::kComplex128, "complex128", "ComplexDoubleStorage", "", 16},
    {DType::kComplex32, "complex32", "", "", 4},
    {DType::kUInt16, "uint16", "", "U16", 2},
    {DType::kUInt32, "uint32", "", "U32", 4},
    {DType::kUInt64, "uint64", "", "U64", 8},
    {DType::kFloat8E5M2, "float8_e5m2", "", "F8_E5M2", 1},
    {DType::kFloat8E4M3, "float8_e4m3fn", "", "F8_E4M3", 1},
}};

constexpr bool in_order() {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (static_cast<size_t>(kDTypes[i].dtype) != i) return false;
  }
  return true;
}
static_assert(in_order(), "info_of takes the row by the number of the type");

// The bytes from the start of the storage to the end of the last element; empty if they overflow.
std::optional<int64_t> reach_of(const TensorView& view) {
  if (view.offset < 0) return std::nullopt;
  int64_t last = view.offset;
  for (size_t d = 0; d < view.sizes.size(); ++d) {
    int64_t step = 0;
    if (view.strides[d] < 0 || __builtin_mul_overflow(view.sizes[d] - 1, view.strides[d], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  int64_t reach = 0;
  if (__builtin_add_overflow(last, 1, &last) ||
      __builtin_mul_overflow(last, info_of(view.dtype).size, &reach)) {
    return std::nullopt;
  }
  return reach;
}

// Copies the part of dimensions [dim, rows) that starts at element `from`; what is inside a row
// lies in one piece.
struct Copier {
  const TensorView& view;
  size_t rows;
  int64_t row_bytes;
  uint8_t* out;

  void copy(size_t dim, int64_t from) {
    if (dim == rows) {
      std::memcpy(out, view.storage.data() + from * info_of(view.dtype).size,
                  static_cast<size_t>(row_bytes));
      out += row_bytes;
      return;
    }
    for (int64_t i = 0; i < view.sizes[dim]; ++i) copy(dim + 1, from + i * view.strides[dim]);
  }
};

}  // namespace

std::span<const DTypeInfo> dtypes() { return kDTypes; }

const DTypeInfo& info_of(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

std::vector<int64_t> contiguous_strides(std::span<const int64_t> sizes) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t d = sizes.size(); d-- > 1;) {
    if (__builtin_mul_overflow(strides[d], std::max<int64_t>(sizes[d], 1), &strides[d - 1])) {
      strides[d - 1] = -1;  // which no check lets pass
    }
  }
  return strides;
}

std::optional<int64_t> byte_count(const TensorView& view) {
  int64_t count = info_of(view.dtype).size;
  bool empty = false;
  if (view.sizes.size() > kMaxDims) return std::nullopt;
  for (const int64_t size : view.sizes) {
    empty |= size == 0;
    if (size < 0 || __builtin_mul_overflow(count, std::max<int64_t>(size, 1), &count)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : count;
}

int64_t checked_byte_count(const TensorView& view) {
  const auto bytes = byte_count(view);
  if (!bytes || view.sizes.size() != view.strides.size()) {
    throw Error(fmt::format(
        "the impossible shape [{}] with {} strides",
        fmt::join(std::span(view.sizes).first(std::min(kMaxDims, view.sizes.size())), ", "),
        view.strides.size()));
  }
  if (*bytes == 0) return 0;
  const auto reach = reach_of(view);
  if (reach && static_cast<uint64_t>(*reach) <= view.storage.size()) return *bytes;
  throw Error(
      fmt::format("elements outside its storage of {} bytes: shape "
                  "[{}], strides [{}], offset {}",
                  view.storage.size(), fmt::join(view.sizes, ", "), fmt::join(view.strides, ", "),
                  view.offset));
}

void copy_elements(const TensorView& view, std::span<uint8_t> out) {
  if (out.empty()) return;
  size_t rows = view.sizes.size();
  int64_t row = 1;
  while (rows > 0 && (view.sizes[rows - 1] == 1 || view.strides[rows - 1] == row)) {
    row *= view.sizes[--rows];
  }
  Copier{view, rows, row * info_of(view.dtype).size, out.data()}.copy(0, view.offset);
  if (view.dtype == DType::kBool) {
    for (uint8_t& value : out) value = value != 0;
  }
}

std::string shown(std::string_view name) {
  constexpr size_t kMax = 80;
  std::string text(name.substr(0, kMax));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return name.size() > kMax ? text + "..." : text;
}

}  // namespace umbra
