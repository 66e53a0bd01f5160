// Logits of a teacher in few bytes: the largest K, and one value for all others. The idea is
// TinyViT's (Wu et al., 2022), which keeps probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <torch/types.h>

namespace umbra {

// A row is 4 + 4 K bytes: the largest logit and the value of the rest, the K differences from the
// largest (half precision, largest first), and the K classes (16 bits). The rest is the one value
// that gives the classes left out the probability that they have together.
struct SparseForm {
  int64_t classes = 0;
  int64_t top_k = 0;  // at most `classes`; then nothing is left out

  int64_t row_bytes() const { return 4 + 4 * top_k; }
  bool keeps_all() const { return top_k == classes; }
};

constexpr int64_t kMaxSparseClasses = 65536;

// Whether all are numbers, and none larger than a half can hold.
bool can_encode(const torch::Tensor& logits);

// logits [B, classes], of any floating type, on any device; such as can be encoded.
std::vector<uint8_t> encode(const SparseForm& form, const torch::Tensor& logits);

// [B, classes] float32 on the CPU. The class of the largest logit is the one that it was; logits
// that were kept are off by no more than half precision's rounding.
torch::Tensor decode(const SparseForm& form, std::span<const uint8_t> rows);

}  // namespace umbra
