// Fills and verifies the caches of a config's teachers.
#pragma once

#include <span>

#include "train/loop/prepare.h"
#include "train/loop/run_log.h"
#include "train/loop/stop_signal.h"
#include "train/loop/teachers.h"

namespace umbra {

// How what a cache holds differs from what its teacher answers now.
struct CacheCheck {
  std::string teacher, folder;
  SparseForm form;
  int64_t views = 0;        // that were asked again
  double same_top1 = 0.0;   // percent of them
  double difference = 0.0;  // the largest, of logits kept, as a share of the view's largest logit
  std::string worst;        // where that is

  struct Divergence {
    double temperature = 1.0;
    double kept = 0.0;   // probability of the classes kept
    double kl = 0.0;     // KL(teacher || cache), mean over the views
    double of_kl = 0.0;  // as a share of KL(teacher || uniform)
  };
  std::vector<Divergence> divergences;  // at some temperatures
};

class CacheMaker {
 public:
  // Opens the data and the teachers with teacher.cache; nothing is written yet. Throws ConfigError
  // or Error.
  explicit CacheMaker(LoadedConfig loaded);
  CacheMaker(const CacheMaker&) = delete;
  CacheMaker& operator=(const CacheMaker&) = delete;

  // Of the training.
  int64_t epochs() const { return epochs_; }

  // Asks the teachers for the answers of these epochs, counted from 0, that are not there yet.
  // Caches that do not exist start with the `top_k` largest logits (0: 10, or all where the config
  // needs all); others must have been made for this config, with that top_k unless it is 0. Throws
  // Interrupted after a signal, with what was asked so far kept.
  void write(const std::vector<int64_t>& epochs, int64_t top_k, const StopSignal& stop,
             Terminal terminal);

  // Asks again for `steps` steps, spread over the epochs that are there, for each cache.
  std::vector<CacheCheck> verify(int64_t steps);

 private:
  struct Target {
    RunTeacher* teacher = nullptr;
    size_t index = 0;  // in the config
    CacheSubject subject;
    std::unique_ptr<TeacherCache> cache;
  };
  void open_caches(int64_t top_k, bool create);
  void write_epoch(int64_t epoch, const StopSignal& stop, RunLog& log);
  // What a step's batch is to the targets' teachers, each [rows, classes].
  std::vector<torch::Tensor> ask(std::span<Target> targets, const RawBatch& batch, int64_t epoch,
                                 int64_t step);

  LoadedConfig loaded_;
  const Config& config_;
  RunData data_;
  std::vector<RunTeacher> teachers_;
  std::vector<Target> targets_;
  Preparation prepare_;
  Loader loader_;
  int64_t epochs_ = 0;
  double asked_ = 0.0, seconds_ = 0.0;  // views, for the speed
};

}  // namespace umbra
