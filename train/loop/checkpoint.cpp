#include "train/loop/checkpoint.h"

#include <fstream>

#include "train/checksum.h"
#include "train/error.h"
#include "train/files.h"
#include "train/json_text.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr const char* kStateFile = "state.json";

uint32_t checksum(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  Checksum sum;
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         file.gcount() > 0) {
    sum.add(buffer.data(), static_cast<size_t>(file.gcount()));
  }
  return sum.value();
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& why) {
  throw Error(fmt::format("checkpoint {} cannot be used: {}", folder.string(), why));
}

}  // namespace

fs::path CheckpointStore::path(int64_t step) const {
  return folder_ / fmt::format("step-{:08}", step);
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> steps;
  if (!fs::is_directory(folder_)) return steps;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") || !entry.is_directory()) continue;
    const int64_t step = std::atoll(name.c_str() + 5);
    if (path(step).filename() == name) steps.push_back(step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void CheckpointStore::save(int64_t step, const Checkpoint& checkpoint, int64_t keep, int64_t best) {
  make_folder(folder_);
  const fs::path target = path(step), partial = folder_ / ".partial";
  fs::remove_all(partial);
  fs::create_directory(partial);
  Json state = checkpoint.state;
  state["format"] = kFormat;
  state["step"] = step;
  state["files"] = Json::object();
  for (const auto& [group, tensors] : checkpoint.tensors) {
    const std::string file = group + ".safetensors";
    write_safetensors((partial / file).string(), tensors);
    state["files"][file] = {{"bytes", fs::file_size(partial / file)},
                            {"crc32", checksum(partial / file)}};
  }
  write_file_synced(partial / kStateFile, json_text(state, 1) + "\n");
  sync_folder(partial);
  remove(step);  // only where a run goes on after saving this very step
  fs::rename(partial, target);
  sync_folder(folder_);

  int64_t kept = 0;
  for (const int64_t old : steps()) {
    if (kept++ >= keep && old != best) remove(old);
  }
}

// By way of another name: a checkpoint is whole or gone, wherever the program is killed.
void CheckpointStore::remove(int64_t step) {
  const fs::path trash = folder_ / ".trash";
  fs::remove_all(trash);
  if (!fs::exists(path(step))) return;
  fs::rename(path(step), trash);
  fs::remove_all(trash);
}

int64_t CheckpointStore::discard_after(int64_t step) {
  int64_t discarded = 0;
  for (const int64_t newer : steps()) {
    if (newer <= step) continue;
    remove(newer);
    ++discarded;
  }
  return discarded;
}

fs::path CheckpointStore::resolve(const std::string& name) const {
  const std::vector<int64_t> all = steps();
  if (all.empty()) throw Error(fmt::format("{}: no checkpoint there yet", folder_.string()));
  if (name == "last") return path(all.front());
  if (name == "best") {
    const int64_t best = read_checkpoint_state(path(all.front())).value("best_step", int64_t{-1});
    return fs::exists(path(best)) ? path(best) : path(all.front());
  }
  if (fs::is_directory(folder_ / name)) return folder_ / name;
  std::string names;
  for (const int64_t step : all)
    names += (names.empty() ? "" : ", ") + path(step).filename().string();
  throw ConfigError(fmt::format("{}: no checkpoint '{}'; there are: best, last, {}",
                                folder_.string(), name, names));
}

Json read_checkpoint_state(const fs::path& folder) {
  const auto damaged = [&] {
    refuse(folder, fmt::format("its {} is damaged, or none of umbra's", kStateFile));
  };
  std::ifstream file(folder / kStateFile);
  if (!file) refuse(folder, fmt::format("it has no {}", kStateFile));
  const Json state = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto is_number = [&](const char* key) {
    return state.contains(key) && state[key].is_number_integer();
  };
  if (!state.is_object() || !is_number("step") || !is_number("format")) damaged();
  if (state["format"] != kFormat) {
    refuse(folder,
           fmt::format("it has format {}, this program reads {}", state["format"].dump(), kFormat));
  }
  if (!state.contains("files") || !state["files"].is_object()) damaged();
  for (const Json& facts : state["files"]) {
    if (!facts.is_object() || !facts.contains("bytes") || !facts.contains("crc32")) damaged();
    if (!facts["bytes"].is_number_unsigned() || !facts["crc32"].is_number_unsigned()) damaged();
  }
  return state;
}

Checkpoint read_checkpoint(const fs::path& folder, const std::vector<std::string>& groups) {
  Checkpoint checkpoint;
  checkpoint.state = read_checkpoint_state(folder);
  for (const auto& [file, facts] : checkpoint.state["files"].items()) {
    const std::string group = fs::path(file).stem().string();
    const bool wanted =
        groups.empty() || std::find(groups.begin(), groups.end(), group) != groups.end();
    if (!wanted) continue;
    const fs::path path = folder / file;
    if (!fs::is_regular_file(path)) refuse(folder, fmt::format("{} is missing", file));
    const auto bytes = fs::file_size(path);
    if (facts["bytes"] != bytes) {
      refuse(folder,
             fmt::format("{} has {} bytes instead of {}", file, bytes, facts["bytes"].dump()));
    }
    if (facts["crc32"] != checksum(path)) {
      refuse(folder, fmt::format("{} is damaged: its checksum is wrong", file));
    }
    checkpoint.tensors[group] = read_safetensors(path.string());
  }
  return checkpoint;
}

}  // namespace umbra
