// What a teacher answers to every training batch of a run, on disk: umbra cache writes it, and a
// run reads it instead of asking the teacher.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "train/distill/logit_store.h"
#include "train/distill/objective.h"
#include "train/loop/run_data.h"

namespace umbra {

// How a teacher does on the evaluation set of a run.
struct TeacherScore {
  double top1 = 0.0, top5 = 0.0, loss = 0.0;
  torch::Tensor predictions;  // int64 [images]
};

// What a teacher's answers depend on, and which classes and steps they are for.
struct CacheSubject {
  Config config;  // resolved
  std::string teacher, teacher_digest;
  std::string train_digest, eval_digest;  // of the images; and of how those are looked at
  std::string device;                     // "cpu" or "cuda": the noise of erasing is the device's
  int64_t classes = 0;
  EpochShape shape;
};

// A folder: `cache.json`, `config.toml` of the run that it was made for, and an epoch's logits in
// each of its files.
class TeacherCache {
 public:
  // Starts one unless it is there; another process that wants to do so waits. Throws umbra::Error
  // if it cannot be written, and what `score` throws.
  static void create(const std::filesystem::path& folder, const CacheSubject& subject,
                     const SparseForm& form, const std::function<TeacherScore()>& score);

  // Throws umbra::Error, naming all that differs, if it is not a cache for the subject.
  TeacherCache(std::filesystem::path folder, const CacheSubject& subject);

  // Throws umbra::Error, naming those that lack, unless epochs 0 to count - 1 are there.
  void require_epochs(int64_t count) const;

  // Logits [B, C] of the rows that the batch is, on its device.
  torch::Tensor logits_of(const Batch& batch);

  // On this run's evaluation set; nothing if it was made with another.
  const std::optional<TeacherScore>& score() const { return score_; }
  const std::string& precision() const { return precision_; }  // that it was made in
  LogitStore& store() { return *store_; }
  const LogitStore& store() const { return *store_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::unique_ptr<LogitStore> store_;
  std::optional<TeacherScore> score_;
  std::string precision_;
};

// A checksum of what a set shows: labels, class names, and the pixels of up to 64 of its images.
std::string digest(const Dataset& dataset);

}  // namespace umbra
