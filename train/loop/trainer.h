// The one training loop.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "train/loop/interval.h"
#include "train/loop/parts.h"
#include "train/loop/precision.h"
#include "train/loop/prepare.h"
#include "train/loop/replay.h"
#include "train/loop/run_folder.h"
#include "train/loop/run_log.h"
#include "train/loop/stop_signal.h"
#include "train/loop/upload.h"

namespace umbra {

// What a stretch of training steps cost.
struct Speed {
  double seconds = 0.0, data_share = 0.0;  // that share waiting for data
  double resident_gb_before = 0.0, resident_gb_after = 0.0, peak_resident_gb = 0.0;
};

class Trainer {
 public:
  // Builds everything `loaded` asks for; nothing is written yet.
  // With `resume` ("last" or a checkpoint's name) the run in `folder` goes on where that left off.
  // Throws ConfigError or Error; a damaged checkpoint is refused and the newest intact one named, a
  // folder that another process trains in is refused, too.
  Trainer(LoadedConfig loaded, RunFolder folder, const std::optional<std::string>& resume);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Scores the teachers, makes the folder, trains to the end, writes summary.json and returns it.
  // Throws ConfigError if a teacher is not what was expected, Interrupted after a signal, with a
  // checkpoint saved, Error if the loss is no longer finite.
  nlohmann::json fit(const StopSignal& stop, Terminal terminal);

  // Instead of fit(): makes some steps of the training and tells what those after the first
  // `warm_up` cost. Writes nothing.
  Speed measure(int64_t warm_up, int64_t steps);

  const Config& config() const { return config_; }  // resolved
  const Parts& parts() const { return parts_; }

 private:
  using Clock = std::chrono::steady_clock;

  void open_folder(Terminal terminal);
  void announce();
  void start();

  // The loop, in its order.
  void make_step(Clock::time_point step_start);
  RawBatch next_batch();
  std::vector<ModelOutput> ask_teachers(const Batch& batch);
  void learn(const RawBatch& part, int64_t part_index, double weight);
  Lesson teach(const Batch& batch, double weight);
  void update();
  void report_broken();
  void log(Clock::time_point step_start);
  void evaluate_if_due();
  void save_if_due(const StopSignal& stop);

  void enter_phase();
  void restore(const std::string& checkpoint);
  void take_over(const Checkpoint& checkpoint);
  void check_teachers();
  void refuse_divergence() const;
  void evaluate_student();
  nlohmann::json score(const EvalResult& result, const char* weights);
  Checkpoint snapshot();
  nlohmann::json summary() const;
  Forward student_forward(Model& model) const;

  bool is_due(const Duration& every) const;  // after the phase's step just made
  bool log_is_due() const;
  double epoch() const;          // of the current phase
  double seconds() const;        // of training, evaluation and saving, over all processes
  std::string position() const;  // "epoch 12/300 [ 340/1251]"

  LoadedConfig loaded_;
  const Config& config_;
  RunFolder folder_;
  Parts parts_;
  Preparation prepare_;
  Loader train_loader_, eval_loader_;
  Upload upload_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<RunLog> log_;
  std::optional<StepReplay> replay_;                       // with run.cuda_graph
  nlohmann::json teacher_rows_ = nlohmann::json::array();  // what the teachers scored
  torch::Tensor teacher_predictions_;  // of the first teacher, on the evaluation set
  nlohmann::json sources_;             // what the run learns from

  const Phase* phase_ = nullptr;  // that the current step belongs to
  struct {
    std::set<int64_t> train, eval;
  } broken_;                           // samples that were skipped, over all processes
  int64_t step_ = 0, first_step_ = 0;  // updates made; those made before this process
  Interval interval_;
  double earlier_seconds_ = 0.0;  // of processes before this one
  double train_seconds_ = 0.0;    // training steps alone, over all processes
  double data_seconds_ = 0.0;     // waiting for the batch of the current step
  Clock::time_point process_start_;
  nlohmann::json scores_;  // of the last evaluation: {"raw": {...}, "ema": {...}}
  double best_top1_ = -1.0;
  int64_t best_step_ = -1, scored_step_ = -1;  // of the last evaluation
  std::string bar_facts_;  // loss and rate of the last interval, for the progress bar
};

}  // namespace umbra
