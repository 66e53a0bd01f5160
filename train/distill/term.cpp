#include "train/distill/term.h"

#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

struct Row {
  TermMethod method;
  std::unique_ptr<Term> (*make)(const TermContext&);
};

TermOptions weighted(double weight) {
  TermOptions options;
  options.weight = weight;
  return options;
}

// Weights are those of RepDistiller's scripts, or of the method's own code. A new method adds its
// row here.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"kd", weighted(1.0), {"head", "temperature", "logit_norm"}}, make_kd},
      {{"fitnet", weighted(100.0), {"student_stages", "teacher_stages"}}, make_fitnet},
      {{"at", weighted(1000.0), {"student_stages", "teacher_stages"}}, make_at},
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
  constexpr std::array<std::string_view, 4> kAll = {"method", "weight", "warmup_epochs",
                                                    "warmup_from_zero"};
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

void require_head(const TermContext& context) {
  if (context.options.head == "class" || !context.student.example.shadow_logits.empty()) return;
  throw ConfigError(fmt::format(
      "head = \"shadow\", and the student {} has one head only: take a distilled transformer, set "
      "model.num_shadow_heads = 1, or head = \"class\"",
      context.student.model->options().name));
}

torch::Tensor student_logits(const ModelOutput& student, const TermOptions& options) {
  return options.head == "class" ? student.logits : student.shadow_logits.front();
}

}  // namespace umbra
