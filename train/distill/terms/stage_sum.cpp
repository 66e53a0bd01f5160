#include "train/distill/terms/stage_sum.h"

#include "train/distill/losses.h"

namespace umbra {
namespace {

class StageSum : public Term {
 public:
  StageSum(std::vector<StagePair> pairs, MapLoss map_loss)
      : pairs_(std::move(pairs)), loss_(map_loss) {}

  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (const StagePair& pair : pairs_) {
      const torch::Tensor of_pair = loss_(as_map(input.student.features[pair.student]),
                                          as_map(input.teacher.features[pair.teacher]));
      add_to(sum, of_pair);
    }
    return sum;
  }

 private:
  std::vector<StagePair> pairs_;
  MapLoss loss_;
};

}  // namespace

std::unique_ptr<Term> make_stage_sum(std::vector<StagePair> pairs, MapLoss loss) {
  return std::make_unique<StageSum>(std::move(pairs), loss);
}

}  // namespace umbra
