#include "train/distill/sskd_losses.h"

#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/losses.h"

namespace umbra {

SskdRows split_views(const torch::Tensor& rows) {
  TORCH_CHECK(rows.size(0) % kSskdViews == 0, rows.size(0), " rows are not ", kSskdViews,
              " views of each source");
  const torch::Tensor grouped = rows.unflatten(0, {-1, kSskdViews});  // [B, 4, ...]
  return {grouped.select(1, 0), grouped.narrow(1, 1, kSskdViews - 1).flatten(0, 1)};
}

torch::Tensor view_sources(int64_t sources, torch::Device device) {
  return torch::arange(sources, torch::TensorOptions(torch::kInt64).device(device))
      .repeat_interleave(kSskdViews - 1);
}

torch::Tensor view_similarity(const torch::Tensor& representations) {
  namespace F = torch::nn::functional;
  const torch::Tensor unit =
      F::normalize(wide(representations), F::NormalizeFuncOptions().dim(1).eps(1e-8));
  const SskdRows rows = split_views(unit);
  // In single precision under autocast, too: the scores go into a softmax.
  const FullPrecision full_precision;
  return torch::matmul(rows.transformed, rows.normal.t());
}

torch::Tensor target_ranks(const torch::Tensor& scores, const torch::Tensor& targets) {
  const torch::Tensor column = targets.unsqueeze(1);   // [N, 1]
  const torch::Tensor own = scores.gather(1, column);  // [N, 1]
  const torch::Tensor columns = torch::arange(scores.size(1), targets.options());
  const torch::Tensor earlier_tie = scores.eq(own).logical_and(columns.lt(column));
  return scores.gt(own).logical_or(earlier_tie).sum(1);
}

torch::Tensor select_rows(const torch::Tensor& ranks, double ratio) {
  const auto wrong = ranks.count_nonzero().item<int64_t>();
  const auto kept =
      ranks.size(0) - wrong + static_cast<int64_t>(ratio * static_cast<double>(wrong));
  const torch::Tensor order = ranks.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  return std::get<0>(order.narrow(0, 0, kept).sort());
}

torch::Tensor selected_kl(const torch::Tensor& student, const torch::Tensor& teacher,
                          const torch::Tensor& targets, double ratio, double temperature) {
  const torch::Tensor kept = select_rows(target_ranks(teacher.detach(), targets), ratio);
  if (kept.size(0) == 0) return wide(student).sum() * 0.0;
  return kl_divergence(student.index_select(0, kept), teacher.index_select(0, kept), temperature);
}

}  // namespace umbra
