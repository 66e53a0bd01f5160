// The contract of a distillation loss that is added to others, [[distill.terms]] in a config: a
// file for each method in terms/.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include <torch/nn.h>

#include "train/distill/objective.h"
#include "train/distill/options.h"

namespace umbra {

// What a term is computed from. The teacher's outputs carry no gradients; methods that take no
// teacher leave them alone.
struct TermInput {
  const Batch& batch;
  const ModelOutput& student;
  const ModelOutput& teacher;
};

// What a term may look at when it is built. The examples are outputs for two blank images: they
// tell the shapes of logits and features.
struct TermContext {
  TermOptions options;
  LossOptions loss;
  NetworkView student, teacher;           // no teacher: its model is null
  std::span<const int64_t> train_labels;  // of the training set, by index
};

class Term {
 public:
  virtual ~Term() = default;

  // The loss, not weighted: a scalar.
  virtual torch::Tensor loss(const TermInput& input) = 0;

  // What the term trains or keeps (regressors, embeddings, memory banks); null if nothing.
  virtual std::shared_ptr<torch::nn::Module> module() { return nullptr; }

  // Whether loss() is the same operations for all batches of a shape, as Objective's.
  virtual bool is_replayable() const { return true; }

  // A fit before the training (of a paraphraser, a connector), on the term's module, and on the
  // student with trains_student. Its name is left to the objective.
  using Fit = Objective::Fit;
  virtual std::optional<Fit> fit() const { return std::nullopt; }
  virtual torch::Tensor fit_loss(const TermInput&) { TORCH_CHECK(false, "this term has no fit"); }
};

// The fit that the options name, left to the objective to label.
Term::Fit fit_of(const TermOptions& options, bool trains_student);

// Builds the term of context.options.method. Throws ConfigError if student or teacher cannot serve
// it, naming the reason and what would work.
std::unique_ptr<Term> make_term(const TermContext& context);

// A term without state: a function of the outputs.
std::unique_ptr<Term> make_plain(std::function<torch::Tensor(const TermInput&)> loss);

// Throws ConfigError for a network, the "student" or the "teacher", without what the method wants:
// "compares features".
[[noreturn]] void refuse_logits_only(const NetworkView& view, const char* who,
                                     const std::string& method, const char* wants);

// Throws ConfigError, with advice, unless both networks give stages; unless both give the vector
// that their class head reads.
void require_stages(const TermContext& context);
void require_pooled(const TermContext& context);

// Throws ConfigError, with advice, where the student has no such head as the options name.
void require_head(const TermContext& context);

// The logits of that head and the teacher's, each normalised as the options say.
std::pair<torch::Tensor, torch::Tensor> compared_logits(const TermInput& input,
                                                        const TermOptions& options);

}  // namespace umbra
