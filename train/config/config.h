// Everything a config file may say, as plain structs with defaults. Names, ranges and help are
// declared once, in train/config/fields.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "augment/options.h"
#include "train/config/duration.h"
#include "train/distill/options.h"
#include "train/model_options.h"
#include "train/optim/options.h"

namespace umbra {

struct RunOptions {
  int64_t seed = 0;
  std::string device = "auto";     // "auto", "cpu", "cuda" or "cuda:N"
  std::string precision = "auto";  // "auto", "fp32" or "bf16"
  int64_t threads = 0;             // 0: torch's own choice
  bool cuda_graph = false;         // forward and backward passes are recorded and replayed
};

struct DataOptions {
  std::string format = "auto";  // or one of data_formats()
  std::string path;
  int64_t seed = -1;             // of all that decides the batches; -1: the run's
  int64_t train_samples = 0;     // 0: all; else a class-balanced subset drawn from the seed
  double val_split = 0.0;        // share of the training set to evaluate on instead of the test set
  bool drop_last = true;         // leave out the last, smaller batch of an epoch
  int64_t workers = 1;           // threads that prepare batches; 0: the training thread itself
  int64_t prefetch = 4;          // batches prepared ahead
  std::string decode = "exact";  // or "fast": JPEGs at 1/2, 1/4 or 1/8 where that suffices
  std::string on_broken = "error";  // or "skip"
  int64_t max_pixels = 178'956'970;
  double memory_gb = 2.0;  // a set that fits, decoded, is kept in memory
};

struct TeacherOptions {
  std::string path;  // run folder, checkpoint or weight file
  std::string checkpoint = "best";
  std::string weights = "auto";  // "auto", "raw" or "ema"
  double expect_top1 = 0.0;      // percent; 0: not asked
  std::string cache;             // folder of its answers; empty: it is asked at every step
  // "torchscript": a file that is a program, run with the rights of whoever trains.
  std::string format = "auto";
  // For a bare file only; a run folder brings its own.
  std::string model;
  int64_t image_size = 0;
  std::vector<double> mean, std;
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

  // Of what the batches hold: subsets, order, views, mixing.
  uint64_t data_seed() const {
    return static_cast<uint64_t>(data.seed >= 0 ? data.seed : run.seed);
  }
};

// What item `index` of an array of tables is called in keys: "teacher" if it is the only one, else
// "teacher.0", "teacher.1", ...
inline std::string item_key(const std::string& list, size_t index, size_t count) {
  return count == 1 ? list : list + "." + std::to_string(index);
}

}  // namespace umbra
