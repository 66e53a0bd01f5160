// The contract of a training objective.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <torch/nn.h>

#include "train/distill/options.h"
#include "train/error.h"
#include "train/model.h"

namespace umbra {

// One (micro-)batch as the networks see it.
struct Batch {
  torch::Tensor images;          // [B, C, H, W] float, normalised, mixed
  torch::Tensor labels;          // [B] int64, of the images themselves
  torch::Tensor targets;         // [B] int64, or [B, num_classes] float when smoothed or mixed
  torch::Tensor indices;         // [B] int64, positions in the training set; on the CPU
  int64_t step = 0;              // of the run, from 0
  int64_t first_row = 0;         // of this part, in the batch of the step
  double epoch = 0.0;            // with its fraction
  int64_t views = 1;             // rows that belong to one sample, following each other
  torch::Tensor pretext_labels;  // [B] int64, which rotation or permutation a view shows
  std::vector<torch::Tensor> cached_logits;  // of each teacher, [B, C] from its cache, or undefined
};

struct LossTerm {
  std::string name;
  torch::Tensor value;  // as it enters the total: weighted
};

struct Loss {
  torch::Tensor total;
  std::vector<LossTerm> terms;
  std::vector<LossTerm> facts;  // to be logged, no part of the total

  // Adds weight * value to the total and to the term of that name; nothing if the weight is 0.
  void add(const std::string& name, double weight, const std::function<torch::Tensor()>& value);
};

class Objective {
 public:
  virtual ~Objective() = default;

  // `teachers` holds one output per teacher, in the config's order, without gradients.
  virtual Loss compute(const Batch& batch, const ModelOutput& student,
                       std::span<const ModelOutput> teachers) = 0;

  // What the objective trains besides the student (a teacher-side shadow branch, say), for the
  // optimiser and the checkpoint; null if nothing.
  virtual std::shared_ptr<torch::nn::Module> module() { return nullptr; }

  // The epoch from which on compute() is the same operations for all batches of a shape: it reads
  // nothing back, draws nothing on the host, and its weights stay. Then a recording of it can be
  // replayed (train/loop/replay.h). Nothing: never.
  virtual std::optional<double> replayable_from() const { return 0.0; }

  // A fit before the training (of the teacher's projection head, of a paraphraser): the loop runs
  // fits() in order, each on what of module() gets gradients, and on the student with
  // trains_student. The teacher is frozen throughout.
  struct Fit {
    std::string name{};
    double epochs = 0.0, lr = 0.0;        // lr 0: the training's, which must be SGD's
    std::vector<double> milestones = {};  // epochs at which the rate drops to a tenth
    bool trains_student = false;
  };
  virtual std::vector<Fit> fits() const { return {}; }
  virtual torch::Tensor fit_loss(const Fit& fit, const Batch&, const ModelOutput& /*student*/,
                                 std::span<const ModelOutput> /*teachers*/) {
    TORCH_CHECK(false, "no fit ", fit.name);
  }
};

// A network as an objective may look at it when it is built.
struct NetworkView {
  Model* model = nullptr;
  ModelOutput example;  // its output for two blank images: the shapes of logits and features
};

// What an objective is built for.
struct Setting {
  NetworkView student;
  std::vector<NetworkView> teachers;
  std::vector<int64_t> train_labels;  // of the training set, by index
};

// "shake-paper + crd 0.8": the method's preset, and each term with its weight.
std::string describe(const DistillOptions& distill);

// A term that the networks cannot serve.
class TermError : public ConfigError {
 public:
  TermError(size_t index, const std::string& what) : ConfigError(what), term(index) {}
  size_t term;  // of DistillOptions::terms
};

// Builds the objective that the options name. Throws ConfigError (TermError for a term) if student
// or teachers cannot serve the method, naming the reason and what would work.
std::unique_ptr<Objective> make_objective(const DistillOptions& distill, const LossOptions& loss,
                                          const Setting& setting);

}  // namespace umbra
