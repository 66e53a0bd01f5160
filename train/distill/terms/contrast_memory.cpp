#include "train/distill/terms/contrast_memory.h"

#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/terms/terms.h"

namespace umbra {

ContrastMemoryImpl::ContrastMemoryImpl(int64_t samples, int64_t dim, double temperature,
                                       double momentum)
    : temperature_(temperature), momentum_(momentum) {
  const double bound = std::sqrt(3.0 / static_cast<double>(dim));
  const auto fresh = [&] { return torch::empty({samples, dim}).uniform_(-bound, bound); };
  student_bank_ = register_buffer("student_bank", fresh());
  teacher_bank_ = register_buffer("teacher_bank", fresh());
  student_z_ = register_buffer("student_z", torch::zeros({}));
  teacher_z_ = register_buffer("teacher_z", torch::zeros({}));
}

torch::Tensor ContrastMemoryImpl::forward(const torch::Tensor& student,
                                          const torch::Tensor& teacher,
                                          const torch::Tensor& indices,
                                          const torch::Tensor& contrast) {
  const FullPrecision full_precision;
  const torch::Tensor loss = side_loss(student, teacher_bank_, student_z_, contrast) +
                             side_loss(teacher, student_bank_, teacher_z_, contrast);
  update(student_bank_, student, indices);
  update(teacher_bank_, teacher, indices);
  return loss;
}

torch::Tensor ContrastMemoryImpl::side_loss(const torch::Tensor& embedding,
                                            const torch::Tensor& bank, torch::Tensor& z,
                                            const torch::Tensor& contrast) const {
  // With every row, for K is a good part of them; of a copy, because the update comes before the
  // backward pass, which reads them again.
  const torch::Tensor products = torch::mm(embedding, bank.clone().t());  // [B, samples]
  const torch::Tensor scores = (products.gather(1, contrast) / temperature_).exp();
  const torch::Tensor first = scores.detach().mean() * static_cast<double>(bank.size(0));
  z.copy_(torch::where(z > 0, z, first));
  return contrastive_loss(scores / z.clone(), bank.size(0));
}

void ContrastMemoryImpl::update(torch::Tensor& bank, const torch::Tensor& embedding,
                                const torch::Tensor& indices) const {
  namespace F = torch::nn::functional;
  const torch::NoGradGuard no_grad;
  const torch::Tensor same = indices.unsqueeze(0).eq(indices.unsqueeze(1)).to(bank.dtype());
  const torch::Tensor mean = torch::mm(same, embedding) / same.sum(1, /*keepdim=*/true);
  const torch::Tensor mixed = momentum_ * bank.index_select(0, indices) + (1.0 - momentum_) * mean;
  bank.index_copy_(0, indices, F::normalize(mixed, F::NormalizeFuncOptions().dim(1)));
}

}  // namespace umbra
