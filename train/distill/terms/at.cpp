#include <torch/nn/functional.h>

#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class AttentionTransfer : public Term {
 public:
  explicit AttentionTransfer(std::vector<StagePair> pairs) : pairs_(std::move(pairs)) {}

  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (const StagePair& pair : pairs_) {
      const torch::Tensor loss = attention_loss(as_map(input.student.features[pair.student]),
                                                as_map(input.teacher.features[pair.teacher]));
      sum = sum.defined() ? sum + loss : loss;
    }
    return sum;
  }

 private:
  std::vector<StagePair> pairs_;
};

// [B, H * W]
torch::Tensor attention_of(const torch::Tensor& map) {
  namespace F = torch::nn::functional;
  return F::normalize(map.pow(2).mean(1).flatten(1), F::NormalizeFuncOptions().dim(1));
}

}  // namespace

torch::Tensor attention_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  const auto [s, t] = pooled_to_smaller(wide(student), wide(teacher.detach()));
  return (attention_of(s) - attention_of(t)).pow(2).mean();
}

std::unique_ptr<Term> make_at(const TermContext& context) {
  return std::make_unique<AttentionTransfer>(stage_pairs(context, StageChoice::kAll));
}

}  // namespace umbra
