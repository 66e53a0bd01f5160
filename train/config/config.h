// Everything a config file may say, as plain structs with defaults. Names, ranges and help are
// declared once, in train/config/fields.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "augment/options.h"
#include "cnn/options.h"
#include "train/config/duration.h"
#include "vit/options.h"

namespace umbra {

struct RunOptions {
  int64_t seed = 0;
  std::string device = "auto";     // "auto", "cpu", "cuda" or "cuda:N"
  std::string precision = "auto";  // "auto", "fp32" or "bf16"
  int64_t threads = 0;             // 0: torch's own choice
};

struct DataOptions {
  std::string format = "auto";  // "auto", "idx", "cifar10", "cifar100" or "image_folder"
  std::string path;
  int64_t train_samples = 0;  // 0: all; else a class-balanced subset drawn from the run seed
  double val_split = 0.0;     // share of the training set to evaluate on instead of the test set
  bool drop_last = true;      // leave out the last, smaller batch of an epoch
  int64_t workers = 1;        // threads that prepare batches; 0: the training thread itself
  int64_t prefetch = 4;       // batches prepared ahead
};

struct ModelOptions {
  std::string name = "deit_tiny_distilled_patch16_224";
  int64_t num_classes = 0;  // 0: what the data has
  int64_t in_chans = 0;     // 0: what the data has
  std::string init_from;    // run folder, checkpoint or weight file to start from
  std::string pos_embed_resize = "timm";
  vit::VitOptions vit;
  cnn::CnnOptions cnn;

  bool is_vit() const { return vit::named_options(name).has_value(); }
};

struct TeacherOptions {
  std::string path;  // run folder, checkpoint or weight file
  std::string checkpoint = "best";
  std::string weights = "auto";  // "auto", "raw" or "ema"
  double expect_top1 = 0.0;      // percent; 0: not asked
  // For a bare weight file only; a run folder brings its own.
  std::string model;
  int64_t image_size = 0;
  std::vector<double> mean, std;
};

struct LossOptions {
  std::string name = "cross_entropy";  // or "bce"
};

struct DistillOptions {
  std::string preset = "none";
  std::string method = "none";  // "none", "deit_soft", "deit_hard", "shake"
  double temperature = 4.0;
  std::string kl_scale = "batchmean";  // or "numel": DeiT's division by B * C
  double alpha = 0.5;                  // deit_*: (1 - alpha) * base + alpha * distillation
  // SHAKE.
  std::string shadow = "student";      // "student" (v1, ViT) or "teacher" (v2, public code)
  double student_mutual_weight = 1.0;  // KL(class <- shadow)
  double reverse_weight = 1.0;         // KL(shadow <- class)
  std::string inherit = "kl";          // teacher -> shadow: "kl", "mse", "hard" or "none"
  double inherit_weight = 1.0;
  double shadow_ce_weight = 0.0;    // cross-entropy of the shadow with the labels
  double direct_weight = 0.0;       // KL(class <- teacher)
  double task_weight = 1.0;         // cross-entropy of the class head
  std::string logit_norm = "none";  // or "layer_norm": biased, no affine, times 3.1415
  std::string headline = "class";   // head whose top-1 chooses the best checkpoint
};

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

struct TrainOptions {
  Duration duration = Duration::epochs(300);
  int64_t batch_size = 256;  // samples per update
  int64_t accum_steps = 1;   // parts that an update's batch is computed in
  double ema_decay = 0.0;    // 0: no EMA
  bool ema_warmup = false;
};

struct EvalOptions {
  Duration every = Duration::epochs(1);
  int64_t batch_size = 256;
};

struct LogOptions {
  Duration every = Duration::steps(50);
};

struct CheckpointOptions {
  Duration every = Duration::epochs(1);
  int64_t keep = 2;  // newest checkpoints kept, beside the best
};

struct Config {
  RunOptions run;
  DataOptions data;
  augment::AugmentOptions augment;
  ModelOptions model;
  std::vector<TeacherOptions> teachers;
  LossOptions loss;
  DistillOptions distill;
  OptimOptions optim;
  ScheduleOptions schedule;
  TrainOptions train;
  EvalOptions eval;
  LogOptions log;
  CheckpointOptions checkpoint;
};

// Sets every field that the named preset decides; false if the name is unknown.
bool apply_preset(DistillOptions& options, const std::string& preset);
std::vector<std::string> distill_presets();

}  // namespace umbra
