// Checkpoints: folders of safetensors plus one JSON file, complete or not there at all.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "train/weights/files.h"

namespace umbra {

// What a checkpoint holds: named groups of tensors ("model", "ema", "optimizer", "objective") and
// the run's bookkeeping.
struct Checkpoint {
  std::map<std::string, TensorMap> tensors;
  nlohmann::json state;  // step, epoch, scores, interval sums, ...
};

// The checkpoints of one run, `folder`/step-NNNNNNNN.
class CheckpointStore {
 public:
  explicit CheckpointStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Writes to a temporary folder, syncs, renames: at every instant the newest one is complete.
  // Then removes all but the `keep` newest and the one of step `best`.
  void save(int64_t step, const Checkpoint& checkpoint, int64_t keep, int64_t best);

  // Removes checkpoints newer than `step`, and tells how many: a run that goes on from there makes
  // them again.
  int64_t discard_after(int64_t step);

  // Steps of the checkpoints there are, newest first. Leftovers of an interrupted save are skipped.
  std::vector<int64_t> steps() const;
  std::filesystem::path path(int64_t step) const;

  // "last", "best" (as the newest checkpoint knows it) or a name such as "step-00000400". Throws
  // umbra::Error, listing what there is, if there is no such checkpoint.
  std::filesystem::path resolve(const std::string& name) const;

 private:
  void remove(int64_t step);

  std::filesystem::path folder_;
};

// Reads and verifies (format, sizes, checksums) a checkpoint folder; only the groups named, or all.
// Throws umbra::Error with the reason if it is damaged or none of ours.
Checkpoint read_checkpoint(const std::filesystem::path& folder,
                           const std::vector<std::string>& groups = {});

// state.json alone.
nlohmann::json read_checkpoint_state(const std::filesystem::path& folder);

}  // namespace umbra
