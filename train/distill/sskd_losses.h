// The losses of SSKD (Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020, and
// xuguodong03/SSKD) as plain functions. A batch has four rows for each of B sources, the normal
// view and three transformed ones. With z the logits, y the labels and A the similarities:
//
//   L_ce = cross_entropy(z_s, y)                 normal rows
//   L_kd = kl_divergence(z_s, z_t, 4)            normal rows
//   L_T  = selected_kl(z_s, z_t, y, 1, 4)        transformed rows
//   L_ss = selected_kl(A_s, A_t, sources, 0.75, 0.5)
//   stage 2, which fits the teacher's head: cross_entropy(A_t, sources)
#pragma once

#include <torch/types.h>

namespace umbra {

inline constexpr int64_t kSskdViews = 4;

struct SskdRows {
  torch::Tensor normal;       // [B, ...], rows 0, 4, 8, ...
  torch::Tensor transformed;  // [3B, ...], the others: row r is of source r / 3
};
SskdRows split_views(const torch::Tensor& rows);  // [4B, ...]

// The source of every transformed row: [3B], 0 0 0 1 1 1 ...
torch::Tensor view_sources(int64_t sources, torch::Device device);

// Cosines of the transformed rows with all normal ones, [3B, B], of representations [4B, D].
torch::Tensor view_similarity(const torch::Tensor& representations);

// How many columns score higher than the target's: [N] of scores [N, C] and targets [N]. Of equal
// scores the one in the earlier column counts as higher.
torch::Tensor target_ranks(const torch::Tensor& scores, const torch::Tensor& targets);

// Which rows the student hears of: all of rank 0, and int(ratio * number of others) of the others,
// lowest ranks first, equal ones in their order. Ascending indices.
torch::Tensor select_rows(const torch::Tensor& ranks, double ratio);

// kl_divergence of the rows [N, C] that select_rows chooses by the teacher's scores of `targets`
// [N]; 0 if it chooses none.
torch::Tensor selected_kl(const torch::Tensor& student, const torch::Tensor& teacher,
                          const torch::Tensor& targets, double ratio, double temperature);

}  // namespace umbra
