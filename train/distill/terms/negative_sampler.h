#pragma once

#include <span>
#include <vector>

#include <torch/types.h>

namespace umbra {

// Draws, for samples of the training set, others of another class or of the same: the contrasts of
// CRD. Random numbers come from torch's default CPU generator, which the loop seeds for each step.
class NegativeSampler {
 public:
  // `labels` of the training set, by index; `count` negatives for each sample. Throws ConfigError
  // for a single class, and for more negatives than there are samples.
  NegativeSampler(std::span<const int64_t> labels, int64_t count);

  // `indices` [B] on the CPU. [B, count]: uniform over the samples of other classes, each at most
  // once for a row; where they are fewer than `count`, drawn independently instead.
  torch::Tensor negatives(const torch::Tensor& indices);

  // [B]: any sample of the same class, the one itself among them.
  torch::Tensor positives(const torch::Tensor& indices) const;

 private:
  struct Span {
    int64_t begin = 0, size = 0;
  };
  class Random;

  const Span& class_of(int64_t index) const;
  int64_t others(const Span& own) const { return std::ssize(order_) - own.size; }
  int64_t other_sample(const Span& own, int64_t place) const;
  void draw_distinct(const Span& own, Random& random, int64_t* row);
  void draw_any(const Span& own, Random& random, int64_t* row) const;

  std::vector<int64_t> labels_;
  std::vector<int32_t> order_;  // samples, class by class
  std::vector<Span> classes_;   // where each class stands in it
  int64_t count_;
  // 0, 1, ... over the training set, between rows; and which of them a row has swapped.
  std::vector<int32_t> places_, swapped_;
};

}  // namespace umbra
