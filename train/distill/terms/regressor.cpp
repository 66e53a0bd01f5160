#include "train/distill/terms/regressor.h"

#include "train/error.h"

namespace umbra {
namespace nn = torch::nn;

RegressorImpl::RegressorImpl(torch::IntArrayRef student, torch::IntArrayRef teacher, bool relu)
    : relu_(relu) {
  const int64_t from = student[1], to = teacher[1];
  const int64_t s = student[2], t = teacher[2];
  if (s == 2 * t) {
    conv_ = nn::AnyModule(
        register_module("conv", nn::Conv2d(nn::Conv2dOptions(from, to, 3).stride(2).padding(1))));
  } else if (2 * s == t) {
    conv_ = nn::AnyModule(register_module(
        "conv", nn::ConvTranspose2d(nn::ConvTranspose2dOptions(from, to, 4).stride(2).padding(1))));
  } else if (s >= t) {
    conv_ =
        nn::AnyModule(register_module("conv", nn::Conv2d(nn::Conv2dOptions(from, to, 1 + s - t))));
  } else {
    throw ConfigError(fmt::format(
        "a map of {0} x {0} pixels cannot be brought to the teacher's {1} x {1}: name stages of "
        "nearer sizes with student_stages and teacher_stages",
        s, t));
  }
  norm_ = register_module("norm", nn::BatchNorm2d(to));
}

torch::Tensor RegressorImpl::forward(const torch::Tensor& map) {
  const torch::Tensor y = norm_(conv_.forward(map));
  return relu_ ? torch::relu(y) : y;
}

}  // namespace umbra
