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

// The two sides' maps, shallow to deep; the last one is the pooled vector.
struct Maps {
  std::vector<torch::Tensor> student, teacher;
};

// Published for images of ImageNet's size: there the official code takes the student's stages
// before their activation, on CIFAR after it.
bool is_imagenet_cnn(const ModelOptions& options) {
  return !options.is_vit() && cnn::input_size(options.name) > 64;
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
        before_activation_(is_imagenet_cnn(context.student.model->options())),
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
      sum = sum.defined() ? sum + level : level;
    }
    return sum;
  }
  std::shared_ptr<nn::Module> module() override { return modules_; }

 private:
  Maps maps_of(const ModelOutput& student, const ModelOutput& teacher) const {
    Maps maps;
    for (const StagePair& pair : pairs_) {
      const Feature& feature = student.features[pair.student];
      const torch::Tensor s =
          before_activation_ ? as_map_before_activation(feature) : as_map(feature);
      const torch::Tensor t = as_map_before_activation(teacher.features[pair.teacher]).detach();
      maps.student.push_back(s);
      maps.teacher.push_back(fits_teacher_ ? torch::adaptive_avg_pool2d(t, s.sizes().slice(2)) : t);
    }
    maps.student.push_back(as_pixel(student.pooled));
    maps.teacher.push_back(as_pixel(teacher.pooled.detach()));
    return maps;
  }

  std::vector<StagePair> pairs_;
  bool before_activation_;  // the student's stages; the teacher's are always taken so
  bool fits_teacher_;       // the teacher's maps come to the student's size, not the other way
  nn::ModuleList abfs_;     // deepest first
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
