#include <torch/nn/functional.h>

#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

namespace nn = torch::nn;

torch::Tensor nearest(const torch::Tensor& map, torch::IntArrayRef sides) {
  namespace F = nn::functional;
  if (map.sizes().slice(2) == sides) return map;
  return F::interpolate(map, F::InterpolateFuncOptions().size(sides.vec()).mode(torch::kNearest));
}

// Attention-based fusion of one level with what the deeper ones have handed up. Parameter names are
// the official code's.
class AbfImpl : public nn::Module {
 public:
  // `fuses` is false for the deepest level, which gets nothing from below.
  AbfImpl(int64_t in, int64_t mid, int64_t out, bool fuses) {
    conv1_ = register_module("conv1", conv_norm(in, mid, 1));
    conv2_ = register_module("conv2", conv_norm(mid, out, 3));
    if (!fuses) return;
    const auto weights = nn::Conv2dOptions(2 * mid, 2, 1);
    att_conv_ = register_module("att_conv", nn::Sequential(nn::Conv2d(weights), nn::Sigmoid()));
  }

  struct Fused {
    torch::Tensor output;    // [B, out, H_o, W_o], compared with the teacher
    torch::Tensor residual;  // [B, mid, H_o, W_o], for the next level
  };

  // `map` is [B, in, H, W], `deeper` the residual of the level below or undefined, `sides` H_o,
  // W_o.
  Fused forward(const torch::Tensor& map, const torch::Tensor& deeper, torch::IntArrayRef sides) {
    torch::Tensor x = conv1_->forward(map);  // [B, mid, H, W]
    if (att_conv_) {
      const torch::Tensor y = nearest(deeper, x.sizes().slice(2));        // [B, mid, H, W]
      const torch::Tensor z = att_conv_->forward(torch::cat({x, y}, 1));  // [B, 2, H, W]
      x = x * z.narrow(1, 0, 1) + y * z.narrow(1, 1, 1);
    }
    x = nearest(x, sides);
    return {conv2_->forward(x), x};
  }

 private:
  static nn::Sequential conv_norm(int64_t in, int64_t out, int64_t kernel) {
    nn::Conv2d conv(nn::Conv2dOptions(in, out, kernel).padding(kernel / 2).bias(false));
    nn::init::kaiming_uniform_(conv->weight, /*a=*/1.0);
    return nn::Sequential(conv, nn::BatchNorm2d(out));
  }

  nn::Sequential conv1_{nullptr}, conv2_{nullptr}, att_conv_{nullptr};
};
TORCH_MODULE(Abf);

// A vector as a map of one pixel.
torch::Tensor as_pixel(const torch::Tensor& pooled) { return pooled.unsqueeze(2).unsqueeze(3); }

torch::Tensor map_of(const Feature& feature, bool pre) {
  return pre ? as_map_before_activation(feature) : as_map(feature);
}

// The two sides' maps, shallow to deep; the last one is the pooled vector.
struct Maps {
  std::vector<torch::Tensor> student, teacher;
};

// Whether maps are taken before the activation that ends their stage.
struct Taps {
  bool student_pre, teacher_pre;
};

// As the official code has it: of CIFAR networks the teacher's maps before the activation and the
// student's after it. Its ImageNet ResNets take them before, too, but a ReLU in place has
// overwritten them by the time they are compared; MobileNet's do come before. mdistiller compares
// both before: activation = "pre".
Taps taps_of(const TermContext& context) {
  const std::string& activation = context.options.activation;
  if (activation != "official") return {activation == "pre", activation == "pre"};
  const ModelOptions& student = context.student.model->options();
  if (student.is_vit() || cnn::input_size(student.name) <= 64) return {false, true};
  return {student.name.starts_with("mobilenet"), false};
}

// Width of the fusion in the official code: of the CIFAR pairs the student's pooled vector, 512 at
// most, which gives the 512 of the ImageNet ResNets, too; MobileNetV1 and transformers have their
// own.
int64_t official_width(const NetworkView& student) {
  const ModelOptions& options = student.model->options();
  if (options.is_vit()) return 192;
  if (options.name == "mobilenetv1") return 256;
  return std::min<int64_t>(512, student.example.pooled.size(1));
}

class ReviewKd : public Term {
 public:
  explicit ReviewKd(const TermContext& context)
      : pairs_(stage_pairs(context, StageChoice::kAll)),
        taps_(taps_of(context)),
        fits_teacher_(context.student.model->options().is_vit()),
        abfs_(nn::ModuleList()),
        modules_(std::make_shared<nn::Module>()) {
    const Maps maps = maps_of(context.student.example, context.teacher.example);
    const int64_t mid = context.options.mid_channels > 0 ? context.options.mid_channels
                                                         : official_width(context.student);
    for (size_t i = maps.student.size(); i-- > 0;) {
      abfs_->push_back(Abf(maps.student[i].size(1), mid, maps.teacher[i].size(1),
                           /*fuses=*/i + 1 < maps.student.size()));
    }
    modules_->register_module("abfs", abfs_);
  }

  torch::Tensor loss(const TermInput& input) override {
    const Maps maps = maps_of(input.student, input.teacher);
    torch::Tensor sum, residual;
    for (size_t step = 0; step < abfs_->size(); ++step) {  // deep to shallow
      const size_t i = maps.student.size() - 1 - step;
      const torch::Tensor& target = maps.teacher[i];
      const auto fused =
          abfs_[step]->as<Abf>()->forward(maps.student[i], residual, target.sizes().slice(2));
      residual = fused.residual;
      const torch::Tensor level = hcl_loss(fused.output, target);
      add_to(sum, level);
    }
    return sum;
  }
  std::shared_ptr<nn::Module> module() override { return modules_; }

 private:
  Maps maps_of(const ModelOutput& student, const ModelOutput& teacher) const {
    Maps maps;
    for (const StagePair& pair : pairs_) {
      const Feature& feature = student.features[pair.student];
      const torch::Tensor s = map_of(feature, taps_.student_pre);
      const torch::Tensor t = map_of(teacher.features[pair.teacher], taps_.teacher_pre).detach();
      maps.student.push_back(s);
      maps.teacher.push_back(fits_teacher_ ? torch::adaptive_avg_pool2d(t, s.sizes().slice(2)) : t);
    }
    maps.student.push_back(as_pixel(student.pooled));
    maps.teacher.push_back(as_pixel(teacher.pooled.detach()));
    return maps;
  }

  std::vector<StagePair> pairs_;
  Taps taps_;
  bool fits_teacher_;    // the teacher's maps come to the student's size, not the other way
  nn::ModuleList abfs_;  // deepest first
  std::shared_ptr<nn::Module> modules_;
};

}  // namespace

torch::Tensor hcl_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  namespace F = nn::functional;
  const torch::Tensor s = wide(student), t = wide(teacher.detach());
  torch::Tensor sum = F::mse_loss(s, t);
  double weight = 1.0, total = 1.0;
  for (const int64_t side : {4, 2, 1}) {
    if (side >= s.size(2)) continue;
    weight /= 2.0;
    total += weight;
    sum = sum + weight * F::mse_loss(torch::adaptive_avg_pool2d(s, {side, side}),
                                     torch::adaptive_avg_pool2d(t, {side, side}));
  }
  return sum / total;
}

std::unique_ptr<Term> make_review_kd(const TermContext& context) {
  return std::make_unique<ReviewKd>(context);
}

}  // namespace umbra
