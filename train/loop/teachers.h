// The teachers of a run: networks, or caches of what they answered.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/distill/frozen_network.h"
#include "train/loop/evaluator.h"
#include "train/loop/run_data.h"
#include "train/loop/teacher_cache.h"

namespace umbra {

struct RunTeacher {
  std::string name, digest;                // the latter of its weights and its images' preparation
  std::unique_ptr<FrozenNetwork> network;  // may be null where there is a
  std::unique_ptr<TeacherCache> cache;     // that answers instead
  bool logits_only = false;                // nothing else of it is read

  // The network's, to [B, C, H, W]; without gradients and shadow logits.
  ModelOutput answer(const torch::Tensor& images);
};

// Builds every teacher of the config as a network. Throws ConfigError, with the place in the
// config, if one does not fit the run.
std::vector<RunTeacher> build_teachers(const Config& config, const Sources& sources, RunData& data);

// Checksums of the training and the evaluation set, the latter as the run looks at it.
struct DataDigests {
  std::string train, eval;
};
DataDigests digests_of(const Config& config, const RunData& data);

// What the cache of a teacher of the config, built as a network, depends on.
CacheSubject cache_subject(const Config& config, const RunTeacher& teacher, const RunData& data,
                           const DataDigests& digests);

// Puts caches in the place of the teachers with teacher.cache. Throws ConfigError if one is not
// for this run, holds too little for its methods, or lacks some of the `epochs`.
void use_caches(std::vector<RunTeacher>& teachers, const Config& config, const Sources& sources,
                RunData& data, int64_t epochs);

// Scores a teacher on the evaluation set, or tells what its cache knows. Throws ConfigError if its
// logits are no numbers, or it scores less than teacher.expect_top1.
TeacherScore score_teacher(RunTeacher& teacher, size_t index, const LoadedConfig& loaded,
                           const RunData& data, Loader& loader,
                           const augment::Normalizer& normalize);

}  // namespace umbra
