#include "train/distill/terms/pooled.h"

#include "train/error.h"

namespace umbra {

void require_pooled(const TermContext& context) {
  for (const auto& [view, who] :
       {std::pair(&context.student, "student"), std::pair(&context.teacher, "teacher")}) {
    if (view->example.pooled.defined()) continue;
    throw ConfigError(fmt::format(
        "method \"{}\" compares pooled features, and the {} {} gives logits only: take a network "
        "of `umbra models`, or a method on logits (kd, dkd, dist)",
        context.options.method, who, view->model->options().name));
  }
}

}  // namespace umbra
