#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config/duration.h"

namespace umbra {

struct OptimOptions {
  std::string name = "adamw";  // "adamw", "sgd" or "lamb"
  double lr = 5e-4;
  int64_t lr_batch_size = 0;  // lr is for this batch size and scales linearly; 0: as it stands
  double weight_decay = 0.05;
  std::vector<double> betas = {0.9, 0.999};
  double eps = 1e-8;
  double momentum = 0.9;
  bool nesterov = false;
  double clip_grad_norm = 0.0;       // 0: off
  double layer_decay = 1.0;          // 1: off
  bool decay_norm_and_bias = false;  // weight decay on one-dimensional parameters, too
  std::vector<std::string> no_decay = {"cls_token", "dist_token", "pos_embed"};
};

struct ScheduleOptions {
  std::string name = "cosine";  // "cosine", "multistep" or "constant"
  std::string per = "step";     // "step" or "epoch": how often the learning rate changes
  Duration warmup = Duration::epochs(5);
  double warmup_lr = 1e-6;
  bool warmup_prefix = false;  // cosine starts after the warm-up instead of running under it
  double min_lr = 1e-5;
  bool deit_epoch_lag = false;  // epoch e runs at the rate of e - 1, as DeiT's main.py does
  std::vector<Duration> milestones;
  double decay_rate = 0.1;
};

}  // namespace umbra
