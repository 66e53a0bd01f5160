#include "train/distill/losses.h"
#include "train/distill/task_loss.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class MutualLearning : public Term {
 public:
  explicit MutualLearning(const TermContext& context)
      : temperature_(context.options.temperature), loss_(context.loss) {
    for (int64_t i = 0; i < context.options.peers; ++i) {
      peers_.push_back(create_model(context.student.model->options()));
      peer_modules_->register_module(fmt::format("peer_{}", i),
                                     peers_.back()->module().shared_from_this());
    }
  }

  torch::Tensor loss(const TermInput& input) override {
    std::vector<torch::Tensor> logits = {input.student.logits};
    torch::Tensor sum;
    for (const auto& peer : peers_) {
      logits.push_back(peer->forward(input.batch.images).logits);
      const torch::Tensor task = task_loss(loss_, logits.back(), input.batch);
      add_to(sum, task);
    }
    return sum + mutual_loss(logits, temperature_);
  }
  std::shared_ptr<torch::nn::Module> module() override { return peer_modules_; }

 private:
  double temperature_;
  LossOptions loss_;
  std::vector<std::unique_ptr<Model>> peers_;
  std::shared_ptr<torch::nn::Module> peer_modules_ = std::make_shared<torch::nn::Module>();
};

}  // namespace

torch::Tensor mutual_loss(const std::vector<torch::Tensor>& logits, double temperature) {
  TORCH_CHECK(logits.size() > 1, "mutual learning needs two networks");
  torch::Tensor sum;
  for (size_t i = 0; i < logits.size(); ++i) {
    for (size_t j = 0; j < logits.size(); ++j) {
      if (i == j) continue;
      const torch::Tensor divergence = kl_divergence(logits[i], logits[j], temperature);
      add_to(sum, divergence);
    }
  }
  return sum / static_cast<double>(logits.size() - 1);
}

std::unique_ptr<Term> make_dml(const TermContext& context) {
  return std::make_unique<MutualLearning>(context);
}

}  // namespace umbra
