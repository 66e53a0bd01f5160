// Work on a GPU recorded once and launched as a whole from then on (a CUDA graph): where networks
// are small, the host's thousands of launches take longer than the work. Not yet run on a GPU: off
// unless run.cuda_graph asks for it.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "train/distill/objective.h"

namespace umbra {

// Work that was recorded: replay() does it again, with what its tensors hold by then.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

// Whether this build can record for the device.
bool can_record(torch::Device device);

// Records what `work` launches on the device, without doing it. What the host decides or draws
// meanwhile stays as it is in every replay. On a CPU nothing is recorded, and replay() calls
// `work`. Throws Error if the work reads something back, or unless can_record().
std::unique_ptr<Recording> record(torch::Device device, std::function<void()> work);

// What a part of a step's batch taught. Without gradients.
struct Lesson {
  Loss loss;
  torch::Tensor agreement;  // of student and first teacher, a share; undefined where not asked
};

// Repeats the same work on batch after batch: forward and backward pass. Gradients must stay where
// they are in memory from the first batch on.
class StepReplay {
 public:
  using Work = std::function<Lesson(const Batch&)>;

  // What tells recordings apart.
  struct Kind {
    double weight = 0.0;         // of the part, in its batch
    std::vector<int64_t> shape;  // of the images

    auto operator<=>(const Kind&) const = default;
  };

  explicit StepReplay(torch::Device device) : device_(device) {}

  // Does `work` on the batch. The first batches of a kind are worked on as they are, while
  // libraries choose their algorithms; then the work is recorded, and only its recording is
  // replayed.
  Lesson run(const Batch& batch, const Kind& kind, const Work& work);

  bool has_begun() const { return !entries_.empty(); }

 private:
  struct Entry {
    int batches = 0;
    Batch input;    // that the recording reads
    Lesson output;  // that it writes
    std::unique_ptr<Recording> recording;
  };

  torch::Device device_;
  std::map<Kind, Entry> entries_;
};

}  // namespace umbra
