#include "train/distill/term.h"

#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

struct Row {
  TermMethod method;
  std::unique_ptr<Term> (*make)(const TermContext&);
};

constexpr bool kNoTeacher = false;

class Plain : public Term {
 public:
  explicit Plain(std::function<torch::Tensor(const TermInput&)> loss) : loss_(std::move(loss)) {}

  torch::Tensor loss(const TermInput& input) override { return loss_(input); }

 private:
  std::function<torch::Tensor(const TermInput&)> loss_;
};

template <typename Has>
void require_both(const TermContext& context, const char* wants, Has has) {
  for (const auto& [view, who] :
       {std::pair(&context.student, "student"), std::pair(&context.teacher, "teacher")}) {
    if (!has(view->example)) refuse_logits_only(*view, who, context.options.method, wants);
  }
}

TermOptions weighted(double weight, double temperature = 4.0) {
  TermOptions options;
  options.weight = weight;
  options.temperature = temperature;
  return options;
}

TermOptions factor_transfer() {
  TermOptions options = weighted(200.0);
  options.fit_lr = 0.01;  // of the paraphraser
  return options;
}

TermOptions dkd_defaults() {
  TermOptions options;
  options.beta = 8.0;
  options.warmup_epochs = 20.0;
  options.warmup_from_zero = false;
  return options;
}

// The official scripts' weight for most pairs: 8 for ShuffleV2, 0.6 for R20 <- R56, 1 for R32.
TermOptions review_kd_defaults() {
  TermOptions options = weighted(5.0);
  options.warmup_epochs = 20.0;
  options.warmup_from_zero = true;
  return options;
}

// The schedule of the official code for 240 epochs.
TermOptions norm_defaults() {
  TermOptions options = weighted(1.0);
  options.factors = {0.1, 0.5, 1.0, 0.5, 0.1};
  options.factor_epochs = {10.0, 20.0, 180.0, 210.0};
  return options;
}

// Weights are those of RepDistiller's scripts, or of the method's own code. A new method adds its
// row here.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"kd", weighted(1.0), {"head", "temperature", "logit_norm", "logit_scale"}}, make_kd},
      {{"fitnet", weighted(100.0), {"student_stages", "teacher_stages"}}, make_fitnet},
      {{"at", weighted(1000.0), {"student_stages", "teacher_stages"}}, make_at},
      {{"review_kd",
        review_kd_defaults(),
        {"student_stages", "teacher_stages", "mid_channels", "activation"}},
       make_review_kd},
      {{"sp", weighted(3000.0), {"student_stages", "teacher_stages"}}, make_sp},
      {{"nst", weighted(50.0), {"student_stages", "teacher_stages"}}, make_nst},
      {{"fsp",
        weighted(0.0),  // the fit is all that it does, as for ab
        {"student_stages", "teacher_stages", "fit_epochs", "fit_lr"}},
       make_fsp},
      {{"ab", weighted(0.0), {"student_stages", "teacher_stages", "fit_epochs", "fit_lr"}},
       make_ab},
      {{"ft",
        factor_transfer(),
        {"student_stages", "teacher_stages", "paraphrase_rate", "fit_epochs", "fit_lr"}},
       make_ft},
      {{"cc", weighted(0.02), {"embed_dim"}}, make_cc},
      {{"rkd", weighted(1.0), {"distance_weight", "angle_weight"}}, make_rkd},
      {{"pkt", weighted(30000.0), {}}, make_pkt},
      {{"vid", weighted(1.0), {"student_stages", "teacher_stages"}}, make_vid},
      {{"ofd", weighted(1e-3), {"student_stages", "teacher_stages"}}, make_ofd},
      {{"dkd",
        dkd_defaults(),
        {"head", "temperature", "logit_norm", "logit_scale", "alpha", "beta"}},
       make_dkd},
      {{"dist",
        weighted(2.0),
        {"head", "temperature", "logit_norm", "logit_scale", "alpha", "beta"}},
       make_dist},
      {{"crd",
        weighted(0.8),
        {"embed_dim", "negatives", "nce_temperature", "bank_momentum", "positives"}},
       make_crd},
      {{"norm", norm_defaults(), {}}, make_norm},
      {{"dml", weighted(1.0, /*temperature=*/1.0), {"peers", "temperature"}, kNoTeacher}, make_dml},
      {{"one", weighted(1.0, /*temperature=*/3.0), {"temperature"}, kNoTeacher}, make_one},
  };
  return table;
}

std::vector<TermMethod> make_methods() {
  std::vector<TermMethod> methods;
  for (const Row& row : rows()) {
    methods.push_back(row.method);
    methods.back().defaults.method = row.method.name;
  }
  return methods;
}

}  // namespace

bool TermMethod::reads(const std::string& field) const {
  constexpr std::array<std::string_view, 6> kAll = {"method",           "weight",  "warmup_epochs",
                                                    "warmup_from_zero", "factors", "factor_epochs"};
  if (field == "teacher") return takes_teacher;
  return std::find(kAll.begin(), kAll.end(), field) != kAll.end() ||
         std::find(fields.begin(), fields.end(), field) != fields.end();
}

const std::vector<TermMethod>& term_methods() {
  static const std::vector<TermMethod> methods = make_methods();
  return methods;
}

const TermMethod* find_term_method(const std::string& name) {
  const auto& methods = term_methods();
  const auto found = std::find_if(methods.begin(), methods.end(),
                                  [&](const TermMethod& method) { return method.name == name; });
  return found == methods.end() ? nullptr : &*found;
}

std::unique_ptr<Term> make_term(const TermContext& context) {
  for (const Row& row : rows()) {
    if (row.method.name == context.options.method) return row.make(context);
  }
  TORCH_CHECK(false, "unknown term ", context.options.method);
}

std::unique_ptr<Term> make_plain(std::function<torch::Tensor(const TermInput&)> loss) {
  return std::make_unique<Plain>(std::move(loss));
}

Term::Fit fit_of(const TermOptions& options, bool trains_student) {
  return {.epochs = options.fit_epochs, .lr = options.fit_lr, .trains_student = trains_student};
}

void refuse_logits_only(const NetworkView& view, const char* who, const std::string& method,
                        const char* wants) {
  throw ConfigError(fmt::format(
      "method \"{}\" {}, and the {} {} gives logits only: take a network of `umbra models`, or a "
      "method on logits (kd, dkd, dist)",
      method, wants, who, view.model->options().name));
}

void require_stages(const TermContext& context) {
  require_both(context, "compares features",
               [](const ModelOutput& output) { return !output.features.empty(); });
}

void require_pooled(const TermContext& context) {
  require_both(context, "compares pooled features",
               [](const ModelOutput& output) { return output.pooled.defined(); });
}

void require_head(const TermContext& context) {
  if (context.options.head == "class" || !context.student.example.shadow_logits.empty()) return;
  throw ConfigError(fmt::format(
      "head = \"shadow\", and the student {} has one head only: take a distilled transformer, set "
      "model.num_shadow_heads = 1, or head = \"class\"",
      context.student.model->options().name));
}

std::pair<torch::Tensor, torch::Tensor> compared_logits(const TermInput& input,
                                                        const TermOptions& options) {
  const auto normalised = [&](const torch::Tensor& logits) {
    return normalised_logits(logits, options.logit_norm, options.logit_scale);
  };
  const ModelOutput& student = input.student;
  return {normalised(options.head == "class" ? student.logits : student.shadow_logits.front()),
          normalised(input.teacher.logits)};
}

}  // namespace umbra
