#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/regressor.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class FitNet : public Term {
 public:
  explicit FitNet(const TermContext& context) : pairs_(stage_pairs(context, StageChoice::kHint)) {
    const ModelOutput &student = context.student.example, &teacher = context.teacher.example;
    for (const StagePair& pair : pairs_) {
      regressors_->push_back(Regressor(as_map(student.features[pair.student]).sizes(),
                                       as_map(teacher.features[pair.teacher]).sizes()));
    }
  }

  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const torch::Tensor hint = regressors_[i]->as<Regressor>()->forward(
          as_map(input.student.features[pairs_[i].student]));
      add_to(sum, mean_squared_error(hint, as_map(input.teacher.features[pairs_[i].teacher])));
    }
    return sum;
  }
  std::shared_ptr<torch::nn::Module> module() override { return regressors_.ptr(); }

 private:
  std::vector<StagePair> pairs_;
  torch::nn::ModuleList regressors_;
};

}  // namespace

std::unique_ptr<Term> make_fitnet(const TermContext& context) {
  return std::make_unique<FitNet>(context);
}

}  // namespace umbra
