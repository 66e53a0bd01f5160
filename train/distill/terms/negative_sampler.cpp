#include "train/distill/terms/negative_sampler.h"

#include <mutex>
#include <numeric>

#include <ATen/CPUGeneratorImpl.h>

#include "train/error.h"

namespace umbra {

// Torch's default CPU generator, held for many draws.
class NegativeSampler::Random {
 public:
  // One of 0 .. n - 1, each as likely as the others (Lemire, "Fast Random Integer Generation in an
  // Interval", 2019); 0 < n < 2^32.
  int64_t below(int64_t n) {
    const auto range = static_cast<uint32_t>(n);
    uint64_t product = uint64_t{generator_->random()} * range;
    if (static_cast<uint32_t>(product) < range) {
      const uint32_t unfair = (0 - range) % range;
      while (static_cast<uint32_t>(product) < unfair) {
        product = uint64_t{generator_->random()} * range;
      }
    }
    return static_cast<int64_t>(product >> 32);
  }

 private:
  at::Generator holder_ = at::detail::getDefaultCPUGenerator();
  at::CPUGeneratorImpl* generator_ = at::check_generator<at::CPUGeneratorImpl>(holder_);
  std::scoped_lock<std::mutex> lock_{generator_->mutex_};
};

NegativeSampler::NegativeSampler(std::span<const int64_t> labels, int64_t count)
    : labels_(labels.begin(), labels.end()),
      order_(labels.size()),
      count_(count),
      places_(labels.size()),
      swapped_(static_cast<size_t>(count)) {
  std::iota(order_.begin(), order_.end(), 0);
  std::iota(places_.begin(), places_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int32_t a, int32_t b) { return labels_[a] < labels_[b]; });
  int64_t largest = 0;
  for (int64_t place = 0; place < std::ssize(order_); ++place) {
    const auto label = static_cast<size_t>(labels_[order_[place]]);
    if (classes_.size() <= label) classes_.resize(label + 1, {place, 0});
    largest = std::max(largest, ++classes_[label].size);
  }
  const int64_t samples = std::ssize(order_);
  if (largest == samples) {
    throw ConfigError(fmt::format(
        "method \"crd\" draws negatives from other classes, and the {} training images are of one "
        "class: take another method",
        samples));
  }
  if (count > samples) {
    throw ConfigError(
        fmt::format("negatives = {} is more than the {} training images: set "
                    "distill.terms.negatives to at most {}, "
                    "all but the largest class",
                    count, samples, samples - largest));
  }
}

const NegativeSampler::Span& NegativeSampler::class_of(int64_t index) const {
  return classes_.at(static_cast<size_t>(labels_.at(static_cast<size_t>(index))));
}

// Of the samples of other classes, which are those of `order_` without `own`.
int64_t NegativeSampler::other_sample(const Span& own, int64_t place) const {
  return order_[place < own.begin ? place : place + own.size];
}

torch::Tensor NegativeSampler::negatives(const torch::Tensor& indices) {
  const int64_t rows = indices.size(0);
  torch::Tensor drawn = torch::empty({rows, count_}, torch::kInt64);
  Random random;
  for (int64_t row = 0; row < rows; ++row) {
    const Span& own = class_of(indices.const_data_ptr<int64_t>()[row]);
    int64_t* target = drawn.mutable_data_ptr<int64_t>() + row * count_;
    if (count_ <= others(own)) {
      draw_distinct(own, random, target);
    } else {
      draw_any(own, random, target);
    }
  }
  return drawn;
}

// The first steps of a Fisher-Yates shuffle, undone for the next row: the cost does not grow with
// the training set.
void NegativeSampler::draw_distinct(const Span& own, Random& random, int64_t* row) {
  const int64_t pool = others(own);
  for (int64_t k = 0; k < count_; ++k) {
    swapped_[k] = static_cast<int32_t>(k + random.below(pool - k));
    std::swap(places_[k], places_[swapped_[k]]);
    row[k] = other_sample(own, places_[k]);
  }
  for (int64_t k = 0; k < count_; ++k) {
    places_[k] = static_cast<int32_t>(k);
    places_[swapped_[k]] = swapped_[k];
  }
}

void NegativeSampler::draw_any(const Span& own, Random& random, int64_t* row) const {
  for (int64_t k = 0; k < count_; ++k) row[k] = other_sample(own, random.below(others(own)));
}

torch::Tensor NegativeSampler::positives(const torch::Tensor& indices) const {
  torch::Tensor drawn = torch::empty_like(indices);
  Random random;
  for (int64_t row = 0; row < indices.size(0); ++row) {
    const Span& own = class_of(indices.const_data_ptr<int64_t>()[row]);
    drawn.mutable_data_ptr<int64_t>()[row] = order_[own.begin + random.below(own.size)];
  }
  return drawn;
}

}  // namespace umbra
