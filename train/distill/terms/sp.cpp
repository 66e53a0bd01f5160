#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class SimilarityPreserving : public Term {
 public:
  explicit SimilarityPreserving(std::vector<StagePair> pairs) : pairs_(std::move(pairs)) {}

  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (const StagePair& pair : pairs_) {
      const torch::Tensor loss =
          similarity_preserving_loss(as_map(input.student.features[pair.student]),
                                     as_map(input.teacher.features[pair.teacher]));
      sum = sum.defined() ? sum + loss : loss;
    }
    return sum;
  }

 private:
  std::vector<StagePair> pairs_;
};

// How alike the samples of the batch are: [B, B], rows of length 1.
torch::Tensor similarities(const torch::Tensor& map) {
  namespace F = torch::nn::functional;
  const torch::Tensor flat = map.flatten(1);
  return F::normalize(flat.matmul(flat.t()), F::NormalizeFuncOptions().dim(1));
}

}  // namespace

torch::Tensor similarity_preserving_loss(const torch::Tensor& student,
                                         const torch::Tensor& teacher) {
  const FullPrecision full_precision;
  return (similarities(wide(student)) - similarities(wide(teacher.detach()))).pow(2).mean();
}

std::unique_ptr<Term> make_sp(const TermContext& context) {
  return std::make_unique<SimilarityPreserving>(stage_pairs(context, StageChoice::kLast));
}

}  // namespace umbra
