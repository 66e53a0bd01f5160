#include "train/distill/sparse_logits.h"

#include <cstring>

namespace umbra {
namespace {

constexpr float kLargestHalf = 65504.0F;
constexpr int64_t kHead = 2;  // halves before the differences: largest, rest

}  // namespace

bool can_encode(const torch::Tensor& logits) {
  return (logits.abs() <= kLargestHalf).all().item<bool>();
}

std::vector<uint8_t> encode(const SparseForm& form, const torch::Tensor& logits) {
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) == form.classes, "sparse logits: got ",
              logits.sizes(), ", wanted [B, ", form.classes, "]");
  TORCH_CHECK(form.classes <= kMaxSparseClasses && form.top_k >= 1 && form.top_k <= form.classes,
              "sparse logits: ", form.top_k, " of ", form.classes, " classes");
  const torch::NoGradGuard no_grad;
  const torch::Tensor z = logits.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  TORCH_CHECK(can_encode(z), "sparse logits: a logit that is no number, or beyond ", kLargestHalf);
  // Sorted whole and stably: of equal logits the first class comes first, as argmax has it.
  auto [values, classes] = z.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  const torch::Tensor largest = values.slice(1, 0, 1).to(torch::kHalf);
  torch::Tensor differences = (values - values.slice(1, 0, 1)).clamp_min(-kLargestHalf);
  // What is less than the largest stays so through both roundings, however little less.
  const torch::Tensor least =
      largest.to(torch::kFloat32).abs().mul(-std::ldexp(1.0, -22)).clamp_max(-std::ldexp(1.0, -14));
  differences = torch::where(differences < 0, torch::minimum(differences, least), differences);

  const int64_t rows = z.size(0), k = form.top_k;
  std::vector<uint8_t> bytes(rows * form.row_bytes());
  torch::Tensor out = torch::from_blob(bytes.data(), {rows, kHead + 2 * k}, torch::kHalf);
  out.slice(1, 0, 1).copy_(largest);
  if (form.keeps_all()) {
    out.slice(1, 1, 2).zero_();
  } else {
    const double others = std::log(static_cast<double>(form.classes - k));
    out.slice(1, 1, 2).copy_(differences.slice(1, k).logsumexp(1, /*keepdim=*/true) - others);
  }
  out.slice(1, kHead, kHead + k).copy_(differences.slice(1, 0, k));
  out.view(torch::kInt16).slice(1, kHead + k).copy_(classes.slice(1, 0, k));  // wraps from 32768 on
  return bytes;
}

torch::Tensor decode(const SparseForm& form, std::span<const uint8_t> rows) {
  const auto row_bytes = static_cast<size_t>(form.row_bytes());
  TORCH_CHECK(rows.size() % row_bytes == 0, "sparse logits: ", rows.size(), " bytes in rows of ",
              row_bytes);
  const int64_t k = form.top_k, count = static_cast<int64_t>(rows.size() / row_bytes);
  torch::Tensor raw = torch::empty({count, kHead + 2 * k}, torch::kHalf);
  std::memcpy(raw.data_ptr(), rows.data(), rows.size());
  const torch::Tensor values = raw.slice(1, 0, kHead + k).to(torch::kFloat32);
  const torch::Tensor classes =
      raw.view(torch::kInt16).slice(1, kHead + k).to(torch::kLong).bitwise_and(0xFFFF);
  const torch::Tensor largest = values.slice(1, 0, 1);
  return (largest + values.slice(1, 1, 2))
      .repeat({1, form.classes})
      .scatter_(1, classes, largest + values.slice(1, kHead));
}

}  // namespace umbra
