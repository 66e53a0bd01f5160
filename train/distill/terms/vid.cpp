#include <torch/nn/functional.h>

#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

namespace nn = torch::nn;

constexpr double kFirstVariance = 5.0, kSmallestVariance = 1e-5;

nn::Conv2d conv1x1(int64_t in, int64_t out) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 1).bias(false));
}

// What a stage of the student tells of the teacher's: a mean for each value, a variance for each
// channel.
class PredictorImpl : public nn::Module {
 public:
  PredictorImpl(int64_t from, int64_t to) {
    regressor_ =
        register_module("regressor", nn::Sequential(conv1x1(from, to), nn::ReLU(), conv1x1(to, to),
                                                    nn::ReLU(), conv1x1(to, to)));
    log_scale_ = register_parameter(
        "log_scale", torch::full({to}, std::log(std::expm1(kFirstVariance - kSmallestVariance))));
  }

  torch::Tensor forward(const torch::Tensor& student, const torch::Tensor& teacher) {
    const auto [s, t] = pooled_to_smaller(student, wide(teacher.detach()));
    return variational_loss(regressor_->forward(s), t, log_scale_);
  }

 private:
  nn::Sequential regressor_{nullptr};
  torch::Tensor log_scale_;
};
TORCH_MODULE(Predictor);

class VariationalInformation : public Term {
 public:
  VariationalInformation(std::vector<StagePair> pairs, const TermContext& context)
      : pairs_(std::move(pairs)) {
    for (const StagePair& pair : pairs_) {
      predictors_->push_back(
          Predictor(as_map(context.student.example.features[pair.student]).size(1),
                    as_map(context.teacher.example.features[pair.teacher]).size(1)));
    }
  }

  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const torch::Tensor loss = predictors_[i]->as<Predictor>()->forward(
          as_map(input.student.features[pairs_[i].student]),
          as_map(input.teacher.features[pairs_[i].teacher]));
      add_to(sum, loss);
    }
    return sum;
  }
  std::shared_ptr<nn::Module> module() override { return predictors_.ptr(); }

 private:
  std::vector<StagePair> pairs_;
  nn::ModuleList predictors_;
};

}  // namespace

torch::Tensor variational_loss(const torch::Tensor& mean, const torch::Tensor& teacher,
                               const torch::Tensor& log_scale) {
  const torch::Tensor variance =
      (torch::softplus(wide(log_scale)) + kSmallestVariance).view({1, -1, 1, 1});
  const torch::Tensor error = wide(mean) - wide(teacher.detach());
  return 0.5 * (error.pow(2) / variance + variance.log()).mean();
}

std::unique_ptr<Term> make_vid(const TermContext& context) {
  return std::make_unique<VariationalInformation>(stage_pairs(context, StageChoice::kAll), context);
}

}  // namespace umbra
