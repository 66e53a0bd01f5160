#include <torch/nn/functional.h>

#include "augment/to_device.h"
#include "train/distill/losses.h"
#include "train/distill/terms/contrast_memory.h"
#include "train/distill/terms/negative_sampler.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

class Crd : public Term {
 public:
  explicit Crd(const TermContext& context)
      : relaxed_(context.options.positives == "relax"),
        sampler_(context.train_labels, context.options.negatives),
        embed_student_(context.student.example.pooled.size(1), context.options.embed_dim),
        embed_teacher_(context.teacher.example.pooled.size(1), context.options.embed_dim),
        memory_(std::ssize(context.train_labels), context.options.embed_dim,
                context.options.nce_temperature, context.options.bank_momentum) {
    modules_->register_module("embed_student", embed_student_);
    modules_->register_module("embed_teacher", embed_teacher_);
    modules_->register_module("memory", memory_);
  }

  torch::Tensor loss(const TermInput& input) override {
    const torch::Tensor student = embedded(embed_student_, input.student.pooled);
    const torch::Tensor teacher = embedded(embed_teacher_, input.teacher.pooled.detach());
    const torch::Tensor indices = input.batch.indices.to(torch::kCPU);
    return memory_(student, teacher, augment::to_device(indices, student.device()),
                   augment::to_device(contrast(indices), student.device()));
  }
  std::shared_ptr<torch::nn::Module> module() override { return modules_; }
  bool is_replayable() const override { return false; }  // draws its negatives on the host

 private:
  static torch::Tensor embedded(torch::nn::Linear& embed, const torch::Tensor& pooled) {
    namespace F = torch::nn::functional;
    return F::normalize(wide(embed(pooled)), F::NormalizeFuncOptions().dim(1));
  }

  torch::Tensor contrast(const torch::Tensor& indices) {
    const torch::Tensor positives = relaxed_ ? sampler_.positives(indices) : indices;
    return torch::cat({positives.unsqueeze(1), sampler_.negatives(indices)}, 1);
  }

  bool relaxed_;
  NegativeSampler sampler_;
  torch::nn::Linear embed_student_, embed_teacher_;
  ContrastMemory memory_;
  std::shared_ptr<torch::nn::Module> modules_ = std::make_shared<torch::nn::Module>();
};

}  // namespace

torch::Tensor contrastive_loss(const torch::Tensor& scores, int64_t samples) {
  const int64_t negatives = scores.size(1) - 1;
  const double noise = static_cast<double>(negatives) / static_cast<double>(samples);
  const torch::Tensor p = wide(scores);
  const torch::Tensor sums = p + (noise + 1e-7);
  const torch::Tensor positive = (p / sums).narrow(1, 0, 1).log();
  const torch::Tensor negative = (noise / sums).narrow(1, 1, negatives).log();
  return -(positive.sum() + negative.sum()) / static_cast<double>(scores.size(0));
}

std::unique_ptr<Term> make_crd(const TermContext& context) {
  require_pooled(context);
  return std::make_unique<Crd>(context);
}

}  // namespace umbra
