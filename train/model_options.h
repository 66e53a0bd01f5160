#pragma once

#include <string>

#include "cnn/options.h"
#include "vit/options.h"

namespace umbra {

struct ModelOptions {
  std::string name = "deit_tiny_distilled_patch16_224";
  int64_t num_classes = 0;  // 0: what the data has
  int64_t in_chans = 0;     // 0: what the data has
  std::string init_from;    // run folder, checkpoint or weight file to start from
  std::string pos_embed_resize = "timm";
  vit::VitOptions vit;
  cnn::CnnOptions cnn;

  bool is_vit() const { return vit::named_options(name).has_value(); }
  int64_t num_shadow_heads() const {
    if (!is_vit()) return cnn.num_shadow_heads;
    return vit.distilled ? vit.num_shadow_heads : 0;
  }
};

}  // namespace umbra
