// What a model is: its name and all options.
#pragma once

#include <string>
#include <vector>

#include "cnn/options.h"
#include "vit/options.h"

namespace umbra {

struct ModelOptions {
  std::string name = "deit_tiny_distilled_patch16_224";
  int64_t num_classes = 0;         // 0: what the data has
  int64_t in_chans = 0;            // 0: what the data has
  std::string init_from;           // run folder, checkpoint or weight file to start from
  bool init_strict = true;         // init_from must have every tensor, and no other
  std::string init_head = "file";  // "new": class heads of init_from are left out
  std::string freeze = "none";     // "backbone": only the class heads learn
  std::string pos_embed_resize = "timm";
  vit::VitOptions vit;
  cnn::CnnOptions cnn;

  bool is_vit() const { return vit::named_options(name).has_value(); }
  int64_t num_shadow_heads() const {
    if (!is_vit()) return cnn.num_shadow_heads;
    return vit.distilled ? vit.num_shadow_heads : 0;
  }
};

// Every model: the transformers, then the CNNs.
std::vector<std::string> model_names();

// What the model is called here. Knows the names of RepDistiller ("MobileNetV2"), torchvision
// ("regnet_y_16gf") and DeiT's code where they mean one network alone, and takes the tag off timm's
// ("convnext_tiny.fb_in1k"). Throws ConfigError for any other, with the nearest.
std::string canonical_model_name(const std::string& name);

// The options that come with a name; classes and channels are left to the data. Throws ConfigError
// as above.
ModelOptions named_model(const std::string& name);

// How the publishers of a model's best known weights prepare images: DeiT's repository, timm
// (vit_*, RegNetY, ConvNeXt, MobileNetV2, ResNet-D, EfficientNet-Lite), torchvision (other ResNets,
// and what is named as there), RepDistiller (32 pixels). Other weights of the same name may want
// another view.
struct PublishedInput {
  int64_t image_size = 224;
  double crop_pct = 0.875;  // share kept by the centre crop
  std::string interpolation = "bicubic";
  std::vector<double> mean = {0.485, 0.456, 0.406}, std = {0.229, 0.224, 0.225};  // of [0, 1]
};
// Takes any name that canonical_model_name does.
PublishedInput published_input(const std::string& name);

}  // namespace umbra
