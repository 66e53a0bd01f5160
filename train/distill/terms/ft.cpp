#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace nn = torch::nn;

nn::LeakyReLU leaky_relu() { return nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.1)); }

// [B, channels, H, W] -> [B, factors, H, W]
nn::Sequential make_encoder(int64_t channels, int64_t factors, bool norm) {
  nn::Sequential layers;
  for (const auto& [from, to] :
       {std::pair(channels, channels), std::pair(channels, factors), std::pair(factors, factors)}) {
    layers->push_back(nn::Conv2d(nn::Conv2dOptions(from, to, 3).padding(1)));
    if (norm) layers->push_back(nn::BatchNorm2d(to));
    layers->push_back(leaky_relu());
  }
  return layers;
}

// And back.
nn::Sequential make_decoder(int64_t factors, int64_t channels) {
  nn::Sequential layers;
  for (const auto& [from, to] :
       {std::pair(factors, factors), std::pair(factors, channels), std::pair(channels, channels)}) {
    layers->push_back(nn::ConvTranspose2d(nn::ConvTranspose2dOptions(from, to, 3).padding(1)));
    layers->push_back(leaky_relu());
  }
  return layers;
}

// The paraphraser (encoder and decoder, no batch norm) learns the teacher's factors in the fit;
// then the translator, with batch norm, finds them in the student's map.
class FactorTransfer : public Term {
 public:
  FactorTransfer(StagePair pair, const Fit& fit, int64_t student_channels, int64_t teacher_channels,
                 int64_t factors)
      : pair_(pair),
        fit_(fit),
        encoder_(networks_->register_module(
            "encoder", make_encoder(teacher_channels, factors, /*norm=*/false))),
        decoder_(networks_->register_module("decoder", make_decoder(factors, teacher_channels))),
        translator_(networks_->register_module(
            "translator", make_encoder(student_channels, factors, /*norm=*/true))) {}

  torch::Tensor loss(const TermInput& input) override {
    return factor_loss(translator_->forward(as_map(input.student.features[pair_.student])),
                       teachers_factors(input.teacher));
  }
  std::shared_ptr<nn::Module> module() override { return networks_; }

  std::optional<Fit> fit() const override { return fit_; }
  torch::Tensor fit_loss(const TermInput& input) override {
    const torch::Tensor map = as_map(input.teacher.features[pair_.teacher]).detach();
    return mean_squared_error(decoder_->forward(encoder_->forward(map)), map);
  }

 private:
  torch::Tensor teachers_factors(const ModelOutput& teacher) {
    const torch::NoGradGuard frozen;
    return encoder_->forward(as_map(teacher.features[pair_.teacher]));
  }

  StagePair pair_;
  Fit fit_;
  std::shared_ptr<nn::Module> networks_ = std::make_shared<nn::Module>();
  nn::Sequential encoder_, decoder_, translator_;
};

int64_t factors_of(const TermContext& context, int64_t channels) {
  const double rate = context.options.paraphrase_rate;
  const auto factors = static_cast<int64_t>(static_cast<double>(channels) * rate);
  if (factors >= 1) return factors;
  throw ConfigError(fmt::format(
      "paraphrase_rate = {} leaves no factor of the {} channels of {}: take 0.5 as published, or "
      "at least {:.4f}",
      rate, channels, context.teacher.model->options().name, 1.0 / static_cast<double>(channels)));
}

}  // namespace

torch::Tensor factor_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  const auto [s, t] = pooled_to_smaller(wide(student), wide(teacher.detach()));
  return (attention_of(s) - attention_of(t)).abs().mean();
}

std::unique_ptr<Term> make_ft(const TermContext& context) {
  const std::vector<StagePair> pairs = stage_pairs(context, StageChoice::kLast);
  if (pairs.size() > 1) {
    throw ConfigError(fmt::format(
        "one paraphraser describes one stage, got {} pairs: name one, or add a term for each",
        pairs.size()));
  }
  const StagePair pair = pairs.front();
  const int64_t mine = as_map(context.student.example.features[pair.student]).size(1);
  const int64_t theirs = as_map(context.teacher.example.features[pair.teacher]).size(1);
  const Term::Fit fit = fit_of(context.options, /*trains_student=*/false);
  return std::make_unique<FactorTransfer>(pair, fit, mine, theirs, factors_of(context, theirs));
}

}  // namespace umbra
