#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace umbra {

struct LossOptions {
  std::string name = "cross_entropy";  // or "bce", "jsd"
  double jsd_weight = 12.0;            // of the consistency between the views, for "jsd"
};

// One distillation loss that is added to the total. Fields that its method does not use stay as
// they are; term_methods() tells which it does.
struct TermOptions {
  std::string method = "kd";
  double weight = 1.0;
  double warmup_epochs = 0.0;    // over which the weight grows to its full value; 0: none
  bool warmup_from_zero = true;  // the first epoch counts as 0 (ReviewKD), else as 1 (DKD)
  // The weight is multiplied by factors[i] from epoch factor_epochs[i - 1] on; empty: by 1.
  std::vector<double> factors, factor_epochs;
  int64_t teacher = 0;         // which of the [[teacher]] tables
  std::string head = "class";  // of the student's, for losses on logits; or "shadow"
  double temperature = 4.0;
  std::string logit_norm = "none";  // or "layer_norm" (SHAKE's code), "z_score" (LSKD)
  double logit_scale = 3.1415;      // of "layer_norm"
  // Names of stages, for losses on features; empty: those of the paper.
  std::vector<std::string> student_stages, teacher_stages;
  double alpha = 1.0, beta = 1.0;  // dkd: target and non-target part; dist: inter and intra
  double distance_weight = 25.0, angle_weight = 50.0;  // rkd
  int64_t embed_dim = 128;                             // crd, cc
  int64_t negatives = 16384;                           // crd
  double nce_temperature = 0.07;                       // crd
  double bank_momentum = 0.5;                          // crd
  std::string positives = "exact";      // crd: "exact", or "relax": of the same class
  int64_t mid_channels = 0;             // review_kd: width of the fusion; 0: as the official code
  std::string activation = "official";  // review_kd: stages before ("pre"), after ("post")
  double paraphrase_rate = 0.5;         // ft: channels of the factors / of the map
  int64_t peers = 1;                    // dml: networks beside the student
  double fit_epochs = 30.0;             // ab, ft, fsp: length of the fit before the training
  double fit_lr = 0.0;                  // its learning rate; 0: the training's
};

// SSKD's own; its cross-entropy's weight and the temperature of the logits are task_weight and
// temperature of DistillOptions.
struct SskdOptions {
  std::string task = "contrastive";  // or "rotation", "jigsaw", "exemplar"
  double kd_weight = 0.9;            // of the logits of normal images
  double transform_weight = 2.7;     // of the logits of transformed images
  double pretext_weight = 10.0;      // of the self-supervised task
  double pretext_temperature = 0.5;  // of its scores
  double transform_ratio = 1.0;      // share of the teacher's wrong rows that are kept
  double pretext_ratio = 0.75;       // the same of the self-supervised task
  double fit_epochs = 60.0;          // of the teacher's head, before the training
  double fit_lr = 0.05;              // 0: the training's
  std::vector<double> fit_milestones = {30.0, 45.0};  // epochs at which it drops to a tenth
};

// The weight of a term in an epoch, counted from 0.
double weight_at(const TermOptions& options, double epoch);

// The epoch from which on it stays the same.
double settled_epoch(const TermOptions& options);

struct DistillOptions {
  std::string preset = "none";
  std::string method = "none";  // "none", "deit_soft", "deit_hard", "shake", "sskd"
  double temperature = 4.0;
  std::string kl_scale = "batchmean";  // or "numel": DeiT's division by B * C
  double alpha = 0.5;                  // deit_*: (1 - alpha) * base + alpha * distillation
  // SHAKE.
  std::string shadow = "student";      // "student" (v1, ViT) or "teacher" (v2, public code)
  double student_mutual_weight = 1.0;  // KL(class <- shadow)
  double reverse_weight = 1.0;         // KL(shadow <- class)
  std::string inherit = "kl";          // teacher -> shadow: "kl", "mse", "hard" or "none"
  double inherit_weight = 1.0;
  double shadow_ce_weight = 0.0;            // cross-entropy of the shadow with the labels
  double direct_weight = 0.0;               // KL(class <- teacher)
  std::string teacher_weights = "average";  // of what the class head hears; or "aekd"
  double teacher_weight_max = 0.6;          // aekd: of one teacher; the public code's
  double task_weight = 1.0;         // loss of the class head with the labels; "none" and "shake"
  std::string logit_norm = "none";  // of "none" and "shake"; or "layer_norm"
  double logit_scale = 3.1415;      // of "layer_norm"
  std::string headline = "class";   // head whose top-1 chooses the best checkpoint
  SskdOptions sskd;
  std::vector<TermOptions> terms;  // [[distill.terms]], added to the method's loss
};

// Sets every field that the named preset decides; false if the name is unknown.
bool apply_preset(DistillOptions& options, const std::string& preset);
std::vector<std::string> distill_presets();

// What a run reads of a teacher, and the key or term that reads the most.
struct TeacherUse {
  enum class Reads { kLargestLogits, kAllLogits, kNetwork };

  Reads reads = Reads::kLargestLogits;  // which say enough where probabilities are compared
  std::string by{};
};
TeacherUse use_of_teacher(const DistillOptions& distill, size_t teacher);

// A method of [[distill.terms]]: its fields as published, and the names of those that it reads
// beside method, weight, warm-up and teacher.
struct TermMethod {
  std::string name;
  TermOptions defaults;
  std::vector<std::string> fields;
  bool takes_teacher = true;

  bool reads(const std::string& field) const;
  bool on_logits() const { return reads("head"); }  // and on nothing else of the networks
};
const std::vector<TermMethod>& term_methods();
const TermMethod* find_term_method(const std::string& name);  // null if unknown

}  // namespace umbra
