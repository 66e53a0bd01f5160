#include "train/loop/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "train/config/dump.h"
#include "train/config/load.h"
#include "train/error.h"
#include "train/files.h"
#include "train/weights/files.h"
#include "train/weights/load.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

// Which tensors of a checkpoint to take: "model" or "ema".
std::string choose_group(const nlohmann::json& state, const std::string& weights,
                         const fs::path& checkpoint) {
  const bool has_ema = state["files"].contains("ema.safetensors");
  if (weights == "ema" && !has_ema) {
    throw Error(fmt::format("{} has no EMA weights: that run had train.ema_decay = 0",
                            checkpoint.string()));
  }
  if (weights == "ema") return "ema";
  if (weights == "raw" || !has_ema) return "model";
  const double raw = state.value("top1", 0.0), ema = state.value("ema_top1", 0.0);
  return ema > raw ? "ema" : "model";
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, IfTaken if_taken)
    : handle_(open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  const int wait = if_taken == IfTaken::kWait ? 0 : LOCK_NB;
  if (handle_ >= 0 && flock(handle_, LOCK_EX | wait) == 0) return;
  const int error = errno;
  if (handle_ >= 0) close(handle_);
  if (error == EWOULDBLOCK) {
    throw Error(
        fmt::format("another process is training in {}: wait for it, or stop it", folder.string()));
  }
  throw Error(fmt::format("cannot lock {}: {}", folder.string(), std::strerror(error)));
}

FolderLock::~FolderLock() { close(handle_); }

Located locate(const fs::path& path, const std::string& checkpoint) {
  if (fs::exists(path / "state.json")) {
    const fs::path folder = fs::canonical(path);
    return {RunFolder(folder.parent_path().parent_path()), folder};
  }
  const RunFolder run(path);
  return {run, run.checkpoints().resolve(checkpoint)};
}

void RunFolder::create(const Config& config) const {
  make_folder(path_);
  write_file_synced(config_path(), dump_config(config));
}

Config RunFolder::config() const { return load_config(config_path().string()).config; }

bool is_run_path(const std::string& path) {
  if (fs::exists(fs::path(path) / "resolved.toml") || fs::exists(fs::path(path) / "state.json")) {
    return true;
  }
  if (fs::is_regular_file(path)) return false;
  throw ConfigError(
      fs::exists(path)
          ? fmt::format("{} is neither a run folder (no resolved.toml) nor a checkpoint (no "
                        "state.json) nor a weight file",
                        path)
          : fmt::format("{}: no such run folder, checkpoint or weight file", path));
}

SavedModel open_run_model(const std::string& path, const std::string& checkpoint,
                          const std::string& weights) {
  const Located located = locate(path, checkpoint);
  const Config config = located.run.config();
  const nlohmann::json state = read_checkpoint_state(located.checkpoint);
  const std::string group = choose_group(state, weights, located.checkpoint);
  SavedModel saved;
  saved.description =
      fmt::format("{}, {}, {}", located.run.path().string(), located.checkpoint.filename().string(),
                  group == "ema" ? "ema" : "raw");
  saved.view = config.augment;
  saved.input = {config.augment.mean, config.augment.std, config.augment.image_size};
  saved.answers_by_mean = config.distill.headline == "mean";
  saved.class_names = state.value("class_names", std::vector<std::string>{});
  saved.model = create_model(config.model);
  load_state(saved.model->module(), read_checkpoint(located.checkpoint, {group}).tensors.at(group));
  return saved;
}

SavedModel open_bare_model(const std::string& path, ModelOptions options, const InputForm& input) {
  options.vit.img_size = input.image_size;
  std::string wrapper;
  SavedModel saved;
  saved.model = open_model_file(path, options, &wrapper);
  saved.description = wrapper.empty() ? path : path + ", " + wrapper;
  saved.input = input;
  saved.answers_by_mean = options.is_vit() && options.vit.distilled;
  return saved;
}

WeightFile read_weights(const std::string& path) {
  if (!is_run_path(path)) return open_weight_file(path);
  const Located located = locate(path, "best");
  const std::string group =
      choose_group(read_checkpoint_state(located.checkpoint), "auto", located.checkpoint);
  return {read_checkpoint(located.checkpoint, {group}).tensors.at(group), {}, ""};
}

}  // namespace umbra
