// A run on disk: its config, its checkpoints, and models read back from it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "train/config/config.h"
#include "train/distill/frozen_network.h"
#include "train/loop/checkpoint.h"
#include "train/model.h"

namespace umbra {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  bool exists() const { return std::filesystem::exists(config_path()); }
  bool finished() const { return std::filesystem::exists(path_ / "summary.json"); }

  std::filesystem::path config_path() const { return path_ / "resolved.toml"; }
  CheckpointStore checkpoints() const { return CheckpointStore(path_ / "checkpoints"); }

  // Makes the folder and writes resolved.toml. Throws umbra::Error if it cannot be written.
  void create(const Config& config) const;
  Config config() const;

 private:
  std::filesystem::path path_;
};

// Keeps other processes out of a run's or a cache's folder while it lives; the system lifts it when
// the process ends.
class FolderLock {
 public:
  enum class IfTaken { kRefuse, kWait };

  // With kRefuse, throws umbra::Error if another process trains there.
  FolderLock(const std::filesystem::path& folder, IfTaken if_taken);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int handle_;
};

// Which run a path means, and which of its checkpoints: the path is a run folder, then `checkpoint`
// is "best", "last" or a name; or it is a checkpoint folder inside one.
struct Located {
  RunFolder run;
  std::filesystem::path checkpoint;
};
Located locate(const std::filesystem::path& path, const std::string& checkpoint);

// A trained network read from disk.
struct SavedModel {
  std::unique_ptr<Model> model;
  std::string description;  // "runs/teacher, step-00004200, ema"
  InputForm input;
  augment::AugmentOptions view;          // the evaluation's, of a run
  bool answers_by_mean = false;          // its headline is the mean of all heads, as DeiT's
  std::vector<std::string> class_names;  // empty if not known
};

// Reads a run folder or a checkpoint folder inside one. `checkpoint` is "best", "last" or a name;
// `weights` "raw", "ema" or "auto" (whichever scored better when the checkpoint was saved).
SavedModel open_run_model(const std::string& path, const std::string& checkpoint,
                          const std::string& weights);

// Reads a bare weight file as a model of the options' name, for images prepared as `input` says. A
// distilled transformer answers by the mean of its heads, as published. Throws umbra::Error if the
// file cannot be read or does not fit.
SavedModel open_bare_model(const std::string& path, ModelOptions options, const InputForm& input);

// Whether the path is a run or checkpoint folder, rather than a weight file. Throws ConfigError if
// it is neither.
bool is_run_path(const std::string& path);

// The tensors of a run (best checkpoint, auto weights), a checkpoint folder or a weight file.
WeightFile read_weights(const std::string& path);

}  // namespace umbra
