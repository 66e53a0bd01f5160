#pragma once

#include <memory>

#include "train/model.h"

namespace umbra {

// Exponential moving average of a model's weights: ema = d * ema + (1 - d) * w after each update,
// floating-point buffers averaged, integer ones copied (timm's ModelEma).
class Ema {
 public:
  // `average` is a second model of the same options; it takes the weights of `model` at once.
  Ema(std::unique_ptr<Model> average, Model& model, double decay, bool warmup);

  // After update number `step` (0-based). With warm-up the decay is
  // min(decay, 1 - (1 + step)^(-2/3)), as in timm's ModelEmaV3.
  void update(int64_t step);

  // Takes the weights of the model once more, as at the start.
  void restart();

  Model& model() { return *average_; }

 private:
  std::unique_ptr<Model> average_;
  double decay_;
  bool warmup_;
  std::vector<torch::Tensor> float_average_, float_source_, other_average_, other_source_;
};

}  // namespace umbra
