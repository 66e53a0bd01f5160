#include "train/report/compare.h"

#include <torch/nn/functional.h>

#include "train/distill/losses.h"

namespace umbra {
namespace {

torch::Tensor class_correlation(const torch::Tensor& weight) {
  namespace F = torch::nn::functional;
  const torch::Tensor rows = F::normalize(weight.detach().to(torch::kCPU, torch::kFloat64),
                                          F::NormalizeFuncOptions().dim(1));
  return rows.matmul(rows.t());
}

// Over the batch, and without the factor T^2 of a loss.
double summed_kl(const torch::Tensor& student, const torch::Tensor& teacher, double temperature) {
  const double mean = kl_divergence(student, teacher, temperature).item<double>();
  return mean * static_cast<double>(student.size(0)) / (temperature * temperature);
}

}  // namespace

torch::Tensor correlation_difference(const torch::Tensor& weight_a, const torch::Tensor& weight_b) {
  TORCH_CHECK(weight_a.size(0) == weight_b.size(0), "classifiers of ", weight_a.size(0), " and ",
              weight_b.size(0), " classes");
  return (class_correlation(weight_a) - class_correlation(weight_b)).abs();
}

void LogitComparison::add(const torch::Tensor& student, const torch::Tensor& teacher,
                          const torch::Tensor& labels) {
  const torch::Tensor s = student.to(torch::kCPU, torch::kFloat64),
                      t = teacher.to(torch::kCPU, torch::kFloat64), y = labels.to(torch::kCPU);
  if (images_ == 0) {
    const int64_t classes = s.size(1);
    same_ = torch::zeros({classes}, torch::kFloat64);
    counts_ = torch::zeros_like(same_);
    student_sum_ = torch::zeros({classes, classes}, torch::kFloat64);
    teacher_sum_ = torch::zeros_like(student_sum_);
  }
  images_ += y.size(0);
  same_.index_add_(0, y, s.argmax(1).eq(t.argmax(1)).to(torch::kFloat64));
  counts_.index_add_(0, y, torch::ones({y.size(0)}, torch::kFloat64));
  student_sum_.index_add_(0, y, s);
  teacher_sum_.index_add_(0, y, t);
  kl1_ += summed_kl(s, t, 1.0);
  kl4_ += summed_kl(s, t, 4.0);
}

double LogitComparison::agreement() const {
  return same_.sum().item<double>() / static_cast<double>(images_);
}

torch::Tensor LogitComparison::agreement_by_class() const { return same_ / counts_; }

double LogitComparison::kl(double temperature) const {
  TORCH_CHECK(temperature == 1.0 || temperature == 4.0, "kept for temperature 1 and 4 only");
  return (temperature == 1.0 ? kl1_ : kl4_) / static_cast<double>(images_);
}

torch::Tensor LogitComparison::class_mean_difference() const {
  const torch::Tensor counts = counts_.clamp_min(1).unsqueeze(1);
  return ((student_sum_ - teacher_sum_) / counts).abs().fill_diagonal_(0);
}

}  // namespace umbra
