#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/regressor.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class FitNet : public Term {
 public:
  FitNet(StagePair pair, Regressor regressor) : pair_(pair), regressor_(std::move(regressor)) {}

  torch::Tensor loss(const TermInput& input) override {
    return mean_squared_error(regressor_(as_map(input.student.features[pair_.student])),
                              as_map(input.teacher.features[pair_.teacher]));
  }
  std::shared_ptr<torch::nn::Module> module() override { return regressor_.ptr(); }

 private:
  StagePair pair_;
  Regressor regressor_;
};

}  // namespace

std::unique_ptr<Term> make_fitnet(const TermContext& context) {
  const StagePair pair = stage_pairs(context, StageChoice::kHint).front();
  return std::make_unique<FitNet>(
      pair, Regressor(as_map(context.student.example.features[pair.student]).sizes(),
                      as_map(context.teacher.example.features[pair.teacher]).sizes()));
}

}  // namespace umbra
