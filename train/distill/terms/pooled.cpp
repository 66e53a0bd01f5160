#include "train/distill/terms/pooled.h"

namespace umbra {

void require_pooled(const TermContext& context) {
  for (const auto& [view, who] :
       {std::pair(&context.student, "student"), std::pair(&context.teacher, "teacher")}) {
    if (!view->example.pooled.defined()) {
      refuse_logits_only(*view, who, context.options.method, "compares pooled features");
    }
  }
}

}  // namespace umbra
