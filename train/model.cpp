#include "train/model.h"

#include "cnn/backbone.h"
#include "vit/vision_transformer.h"

namespace umbra {
namespace {

class VitModel : public Model {
 public:
  explicit VitModel(const ModelOptions& options)
      : Model(options), vit_(vit::VisionTransformer(options.vit)) {}

  ModelOutput forward(const torch::Tensor& images) override {
    vit::VitOutput output = vit_(images);
    ModelOutput result;
    result.logits = output.logits;
    result.shadow_logits = std::move(output.shadow_logits);
    result.pooled = output.pooled;
    for (size_t i = 0; i < output.blocks.size(); ++i) {
      result.features.push_back({fmt::format("blocks.{}", i), output.blocks[i], output.blocks[i],
                                 options().vit.num_prefix_tokens()});
    }
    return result;
  }

  torch::nn::Module& module() override { return *vit_; }
  const torch::nn::Linear& classifier() override { return vit_->classifier(); }

 private:
  vit::VisionTransformer vit_;
};

class CnnModel : public Model {
 public:
  explicit CnnModel(const ModelOptions& options)
      : Model(options), cnn_(cnn::create(options.name, options.cnn)) {}

  ModelOutput forward(const torch::Tensor& images) override {
    // Channels last: what the fast convolutions of every device want.
    cnn::CnnOutput output = cnn_->forward(images.contiguous(torch::MemoryFormat::ChannelsLast));
    ModelOutput result;
    result.logits = output.logits;
    result.shadow_logits = std::move(output.shadow_logits);
    result.stem = output.stem;
    result.pooled = output.pooled;
    result.expanded = output.expanded;
    for (const cnn::Stage& stage : output.stages) {
      result.features.push_back({stage.name, stage.post, stage.pre});
    }
    return result;
  }

  torch::nn::Module& module() override { return *cnn_; }
  const torch::nn::Linear& classifier() override { return cnn_->classifier(); }
  std::vector<torch::nn::BatchNorm2d> stage_norms() override { return cnn_->stage_norms(); }

 private:
  std::shared_ptr<cnn::Backbone> cnn_;
};

}  // namespace

torch::Tensor mean_of_heads(const ModelOutput& output) {
  torch::Tensor sum = output.logits;
  for (const torch::Tensor& shadow : output.shadow_logits) sum = sum + shadow;
  return sum / static_cast<double>(output.shadow_logits.size() + 1);
}

std::unique_ptr<Model> create_model(const ModelOptions& options) {
  TORCH_CHECK(options.num_classes > 0 && options.in_chans > 0,
              "model options are not resolved against the data");
  ModelOptions complete = options;
  if (options.is_vit()) {
    complete.vit.num_classes = options.num_classes;
    complete.vit.in_chans = options.in_chans;
    return std::make_unique<VitModel>(complete);
  }
  complete.cnn.num_classes = options.num_classes;
  complete.cnn.in_chans = options.in_chans;
  return std::make_unique<CnnModel>(complete);
}

void move_to(torch::nn::Module& module, torch::Device device) {
  module.to(device);
  if (device.is_cuda()) use_channels_last(module);
}

void use_channels_last(torch::nn::Module& module) {
  for (const auto& part : module.modules(/*include_self=*/false)) {
    const auto* conv = part->as<torch::nn::Conv2d>();
    if (!conv) continue;
    conv->weight.set_data(conv->weight.data().contiguous(torch::MemoryFormat::ChannelsLast));
  }
}

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

}  // namespace umbra
