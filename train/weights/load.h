// Weight files as models: under whichever publisher's names, at another image size, for other
// classes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/model.h"
#include "train/weights/files.h"
#include "vit/pos_embed.h"

namespace umbra {

// How far a file may differ from the model. Shapes must always agree, but for the position and
// patch embeddings of a transformer, which are resized.
struct LoadRule {
  bool strict = true;     // every tensor of either side is on the other one, too
  bool new_head = false;  // class heads stay as they are, the file's are left out
  vit::PosEmbedResize pos_embed = vit::PosEmbedResize::kTimm;
};

struct LoadReport {
  int64_t loaded = 0;                // tensors
  std::vector<std::string> resized;  // embeddings of another image or patch size
  std::vector<std::string> fresh;    // kept at their initial value
  std::vector<std::string> unused;   // in the file only
};

// The parameters that end in class logits: of the class head and of all shadow heads.
std::vector<std::string> head_names(Model& model);

// Copies the tensors of a file into the model. Throws umbra::Error, listing what is missing,
// unexpected or of another shape, where the rule does not allow it or nothing fits at all.
LoadReport load_weights(Model& model, const WeightFile& file, const LoadRule& rule = {});

// Reads a weight file as a model of the name in `options`; with options.num_classes 0 the file
// decides. `wrapper`: see WeightFile. Throws umbra::Error if it cannot be read or does not fit.
std::unique_ptr<Model> open_model_file(const std::string& path, ModelOptions options,
                                       std::string* wrapper = nullptr);

// The tensors of a file that must be such a model, under our names; beside them only further shadow
// heads and tokens. Throws umbra::Error if they do not fit.
TensorMap translated(const WeightFile& file, const ModelOptions& options);

}  // namespace umbra
