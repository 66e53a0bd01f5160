// A pickle as plain data. Nothing in it is ever called: what is no tensor, container, number or
// text stays a placeholder with the name of what should have been called.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/weights/tensor_view.h"

namespace umbra {

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kLong,  // more than 64 bits: `text` has its digits, or its bytes
  kFloat,
  kStr,
  kBytes,
  kList,
  kTuple,
  kDict,     // `items`: key, value, key, value ...
  kGlobal,   // `items`: module, name
  kStorage,  // `items`: class, key, location, count, and perhaps a view
  kTensor,   // `items`: storage, offset, sizes, strides, and perhaps a dtype
  kOpaque,   // `items`: the global that should have been called, if one
};

// The globals that mean something here.
enum class PickleGlobal : uint8_t {
  kUnknown,
  kOrderedDict,
  kSize,
  kParameter,
  kRebuildTensor,
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildFromType,
  kStorage,  // its `dtype` tells which
  kDType,
};

using PickleId = uint32_t;

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  PickleGlobal global = PickleGlobal::kUnknown;
  DType dtype = DType::kUInt8;
  int64_t integer = 0;  // of bool and int
  double real = 0;
  std::string_view text{};  // of str and bytes
  std::vector<PickleId> items{};
};

// The values of one pickle, which name each other by number: so they may form cycles, and no depth
// is too deep. Texts lie in the bytes that were parsed, which must live as long.
class Pickle {
 public:
  // Reads the first pickle in the bytes; protocols 0 to 5. Throws umbra::Error if it is damaged or
  // truncated or holds more than two million values. Memory is at most a small multiple of what was
  // read.
  explicit Pickle(std::span<const uint8_t> bytes);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](PickleId id) const { return values_[id]; }
  const std::deque<PickleValue>& values() const { return values_; }
  size_t size() const { return size_; }  // bytes read

  // For messages: "torch._utils._rebuild_qtensor", "a dict", ...
  std::string name_of(const PickleValue& value) const;

 private:
  friend class Unpickler;

  std::deque<PickleValue> values_;
  std::deque<std::string> decoded_;  // texts with escapes
  PickleId root_ = 0;
  size_t size_ = 0;
};

}  // namespace umbra
