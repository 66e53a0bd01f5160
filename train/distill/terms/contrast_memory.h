#pragma once

#include <torch/nn.h>

namespace umbra {

// CRD's memory: the last embedding of every sample of the training set, once as the student and
// once as the teacher gave it.
//
// Memory: two banks of 4 * samples * dim bytes, which are saved with a checkpoint (51 MB together
// for 50,000 samples and dim 128; 1.3 GB for ImageNet), as much again from forward to backward, and
// a few tensors of 4 * B * samples bytes. The original gathers 4 * B * (1 + K) * dim bytes a side
// (537 MB for B 64, K 16384).
class ContrastMemoryImpl : public torch::nn::Module {
 public:
  ContrastMemoryImpl(int64_t samples, int64_t dim, double temperature, double momentum);

  // The contrastive loss (see terms.h) of both sides, then the update of the rows of `indices`:
  // bank = normalised(momentum * bank + (1 - momentum) * embedding). Embeddings are [B, dim] of
  // length 1; `contrast` [B, 1 + K] names the positive, then the negatives. The student's embedding
  // is scored against the teacher's bank and the other way round,
  //   score = exp(v . bank[contrast] / T) / Z,   Z = samples * mean of the first batch's exp(...).
  // Rows of one sample (views, repeated augmentation) enter its bank by their mean.
  torch::Tensor forward(const torch::Tensor& student, const torch::Tensor& teacher,
                        const torch::Tensor& indices, const torch::Tensor& contrast);

 private:
  torch::Tensor side_loss(const torch::Tensor& embedding, const torch::Tensor& bank,
                          torch::Tensor& z, const torch::Tensor& contrast) const;
  void update(torch::Tensor& bank, const torch::Tensor& embedding,
              const torch::Tensor& indices) const;

  double temperature_, momentum_;
  torch::Tensor student_bank_, teacher_bank_;  // [samples, dim]
  torch::Tensor student_z_, teacher_z_;        // scalars; 0 until the first batch
};
TORCH_MODULE(ContrastMemory);

}  // namespace umbra
