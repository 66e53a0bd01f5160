#include "train/distill/options.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace umbra {

double weight_at(const TermOptions& options, double epoch) {
  const double begun = std::floor(epoch);
  double weight = options.weight;
  if (options.warmup_epochs > 0.0) {
    const double done = begun + (options.warmup_from_zero ? 0.0 : 1.0);
    weight *= std::min(1.0, done / options.warmup_epochs);
  }
  if (!options.factors.empty()) {
    const auto& epochs = options.factor_epochs;
    const auto next = std::upper_bound(epochs.begin(), epochs.end(), begun);
    weight *= options.factors[static_cast<size_t>(next - epochs.begin())];
  }
  return weight;
}

double settled_epoch(const TermOptions& options) {
  const double last = options.factor_epochs.empty() ? 0.0 : options.factor_epochs.back();
  return std::ceil(std::max(options.warmup_epochs, last));
}

TeacherUse use_of_teacher(const DistillOptions& o, size_t teacher) {
  using Reads = TeacherUse::Reads;
  const bool shake = o.method == "shake";
  TeacherUse use;
  const auto read = [&](Reads reads, const std::string& by) {
    if (reads > use.reads) use = {reads, by};
  };
  if (o.method == "sskd") read(Reads::kNetwork, "distill.method = \"sskd\"");
  if (shake && o.shadow == "teacher") read(Reads::kNetwork, "distill.shadow = \"teacher\"");
  if (shake && o.inherit == "mse") read(Reads::kAllLogits, "distill.inherit = \"mse\"");
  if (shake && o.logit_norm != "none") {
    read(Reads::kAllLogits, fmt::format("distill.logit_norm = \"{}\"", o.logit_norm));
  }
  for (const TermOptions& term : o.terms) {
    const TermMethod& method = *find_term_method(term.method);
    if (!method.takes_teacher || term.teacher != static_cast<int64_t>(teacher)) continue;
    if (!method.on_logits()) read(Reads::kNetwork, "the term " + term.method);
    if (term.logit_norm == "none") continue;
    read(Reads::kAllLogits, fmt::format("distill.terms.logit_norm = \"{}\"", term.logit_norm));
  }
  return use;
}

}  // namespace umbra
