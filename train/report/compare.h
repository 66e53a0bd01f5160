// How much a student resembles its teacher.
#pragma once

#include <torch/types.h>

namespace umbra {

// |R_a - R_b| [C, C], where R = W W^T of the classifier's weight [C, D] with rows of length 1: how
// alike two classes are to the network (SSKD's supplement, Figure 1).
torch::Tensor correlation_difference(const torch::Tensor& weight_a, const torch::Tensor& weight_b);

// Collects the logits of two networks for the same images.
class LogitComparison {
 public:
  // `student` and `teacher` [B, C], `labels` [B].
  void add(const torch::Tensor& student, const torch::Tensor& teacher, const torch::Tensor& labels);

  int64_t images() const { return images_; }
  double agreement() const;                  // share of images with the same top class
  torch::Tensor agreement_by_class() const;  // [C] float64, NaN where there are no images
  double kl(double temperature) const;       // KL(teacher || student) of the softmax, mean
  // |mean logits of the images of each class, student - teacher| [C, C], diagonal 0, as
  // mdistiller's notebook draws it.
  torch::Tensor class_mean_difference() const;

 private:
  int64_t images_ = 0;
  torch::Tensor same_, counts_, student_sum_, teacher_sum_;  // by class, float64
  double kl1_ = 0.0, kl4_ = 0.0;                             // sums at temperature 1 and 4
};

}  // namespace umbra
