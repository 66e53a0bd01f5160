#include <numbers>

#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace nn = torch::nn;

// Brings the student's map to the teacher's channels; keeps the teacher's margins.
class ConnectorImpl : public nn::Module {
 public:
  ConnectorImpl(int64_t from, const nn::BatchNorm2d& norm) {
    const int64_t to = norm->weight.size(0);
    conv_ = register_module("conv", nn::Conv2d(nn::Conv2dOptions(from, to, 1).bias(false)));
    norm_ = register_module("norm", nn::BatchNorm2d(to));
    margin_ = register_buffer("margin", activation_margin(norm->weight, norm->bias));
    nn::init::normal_(conv_->weight, 0.0, std::sqrt(2.0 / static_cast<double>(to)));
  }

  torch::Tensor forward(const torch::Tensor& student, const torch::Tensor& teacher) {
    return overhaul_loss(norm_(conv_(student)), teacher, margin_);
  }

 private:
  nn::Conv2d conv_{nullptr};
  nn::BatchNorm2d norm_{nullptr};
  torch::Tensor margin_;
};
TORCH_MODULE(Connector);

class Overhaul : public Term {
 public:
  Overhaul(std::vector<StagePair> pairs, const std::vector<nn::BatchNorm2d>& norms,
           const ModelOutput& student)
      : pairs_(std::move(pairs)) {
    for (const StagePair& pair : pairs_) {
      const int64_t from = as_map_before_activation(student.features[pair.student]).size(1);
      connectors_->push_back(Connector(from, norms[pair.teacher]));
    }
  }

  // The deepest stage counts in full, each one before it half as much.
  torch::Tensor loss(const TermInput& input) override {
    torch::Tensor sum;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const torch::Tensor loss = connectors_[i]->as<Connector>()->forward(
          as_map_before_activation(input.student.features[pairs_[i].student]),
          as_map_before_activation(input.teacher.features[pairs_[i].teacher]));
      sum = sum.defined() ? sum / 2.0 + loss : loss;
    }
    return sum;
  }
  std::shared_ptr<nn::Module> module() override { return connectors_.ptr(); }

 private:
  std::vector<StagePair> pairs_;
  nn::ModuleList connectors_;
};

std::vector<nn::BatchNorm2d> stage_norms(const NetworkView& teacher) {
  std::vector<nn::BatchNorm2d> norms = teacher.model->stage_norms();
  if (norms.empty()) {
    throw ConfigError(fmt::format(
        "method \"ofd\" takes its margins from the batch norm before the activation that ends a "
        "stage, and the teacher {} has none: take a ResNet, wide ResNet, VGG, RegNet, MobileNetV1 "
        "or the CIFAR MobileNetV2, or another method on features (at, vid)",
        teacher.model->options().name));
  }
  TORCH_CHECK(norms.size() == teacher.example.features.size(), norms.size(), " norms for ",
              teacher.example.features.size(), " stages");
  return norms;
}

}  // namespace

// A value before the activation is N(bias, weight^2); the margin is its mean where it is negative.
torch::Tensor activation_margin(const torch::Tensor& weight, const torch::Tensor& bias) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor s = weight.to(torch::kFloat64).abs(), mean = bias.to(torch::kFloat64);
  const torch::Tensor ratio = mean / s;  // infinite or NaN for a weight of 0, and right below
  const torch::Tensor negative = torch::special_ndtr(-ratio);
  const torch::Tensor density = torch::exp(-ratio.pow(2) / 2.0) * std::sqrt(0.5 / std::numbers::pi);
  return torch::where(negative > 1e-3, mean - s * density / negative, -3.0 * s).to(weight.dtype());
}

torch::Tensor overhaul_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                            const torch::Tensor& margin) {
  const torch::Tensor s = wide(student);
  const torch::Tensor t = torch::adaptive_avg_pool2d(wide(teacher.detach()), s.sizes().slice(2));
  const torch::Tensor target = t.maximum(margin.view({1, -1, 1, 1}));
  const torch::Tensor counts = s.detach().gt(target).logical_or(t.gt(0));
  return ((s - target).pow(2) * counts).sum() / static_cast<double>(s.size(0));
}

std::unique_ptr<Term> make_ofd(const TermContext& context) {
  std::vector<StagePair> pairs = stage_pairs(context, StageChoice::kAll);
  return std::make_unique<Overhaul>(std::move(pairs), stage_norms(context.teacher),
                                    context.student.example);
}

}  // namespace umbra
