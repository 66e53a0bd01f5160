#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

namespace nn = torch::nn;

class CorrelationCongruence : public Term {
 public:
  CorrelationCongruence(int64_t student_width, int64_t teacher_width, int64_t embed_dim)
      : student_(module_->register_module("student", nn::Linear(student_width, embed_dim))),
        teacher_(module_->register_module("teacher", nn::Linear(teacher_width, embed_dim))) {}

  torch::Tensor loss(const TermInput& input) override {
    return congruence_loss(student_(input.student.pooled), teacher_(input.teacher.pooled.detach()));
  }
  std::shared_ptr<nn::Module> module() override { return module_; }

 private:
  std::shared_ptr<nn::Module> module_ = std::make_shared<nn::Module>();
  nn::Linear student_, teacher_;
};

}  // namespace

torch::Tensor congruence_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  const torch::Tensor d = (wide(student) - wide(teacher)).abs();  // [B, D]
  const int64_t pairs = d.size(0) - 1;
  const torch::Tensor sum = (d.narrow(0, 0, pairs) * d.narrow(0, 1, pairs)).sum();
  return sum / static_cast<double>(std::max<int64_t>(1, pairs));
}

std::unique_ptr<Term> make_cc(const TermContext& context) {
  require_pooled(context);
  return std::make_unique<CorrelationCongruence>(context.student.example.pooled.size(1),
                                                 context.teacher.example.pooled.size(1),
                                                 context.options.embed_dim);
}

}  // namespace umbra
