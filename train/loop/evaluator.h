// Scores every head of a model on a data set, image by image: batch size changes no count.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "augment/normalize.h"
#include "train/data/loader.h"
#include "train/model.h"

namespace umbra {

struct HeadScore {
  std::string head;               // "class", "shadow" ("shadow_0", ... for several), "mean" of all
  double top1 = 0.0, top5 = 0.0;  // percent
  double loss = 0.0;              // cross-entropy per image
  double ece = 0.0;  // expected calibration error, 15 equal bins of confidence (Guo et al., 2017)
  int64_t correct1 = 0, correct5 = 0;
};

struct EvalResult {
  int64_t images = 0;
  std::vector<HeadScore> heads;
  torch::Tensor labels;       // int64 [images]
  torch::Tensor correct;      // bool [images], of the class head
  torch::Tensor predictions;  // int64 [images], of the class head
  double agreement = -1.0;    // % of images on which class head and first teacher agree; -1: none

  const HeadScore& head(const std::string& name) const;  // falls back to "class"
};

using Forward = std::function<ModelOutput(const torch::Tensor&)>;

// `forward` takes normalised images; `teacher_predictions` [images] may be undefined.
EvalResult evaluate(const Forward& forward, Loader& loader, const augment::Normalizer& normalize,
                    const torch::Tensor& teacher_predictions = {});

}  // namespace umbra
