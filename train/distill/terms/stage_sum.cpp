#include "train/distill/terms/stage_sum.h"

#include "train/distill/losses.h"

namespace umbra {

std::unique_ptr<Term> make_stage_sum(std::vector<StagePair> pairs, MapLoss loss) {
  return make_plain([pairs = std::move(pairs), loss](const TermInput& input) {
    torch::Tensor sum;
    for (const StagePair& pair : pairs) {
      add_to(sum, loss(as_map(input.student.features[pair.student]),
                       as_map(input.teacher.features[pair.teacher])));
    }
    return sum;
  });
}

}  // namespace umbra
