#include "train/loop/resume.h"

#include "train/config/dump.h"
#include "train/error.h"

namespace umbra {

using Json = nlohmann::json;

bool changes_no_result(const std::string& key) {
  if (key.ends_with(".expect_top1") || key.ends_with(".cache")) return true;
  constexpr std::string_view kHarmless[] = {"data.workers",
                                            "data.prefetch",
                                            "data.path",
                                            "data.memory_gb",
                                            "run.device",
                                            "run.threads",
                                            "run.cuda_graph",
                                            "log.",
                                            "checkpoint.",
                                            "eval.",
                                            "model.grad_checkpointing"};
  return std::any_of(std::begin(kHarmless), std::end(kHarmless), [&](std::string_view harmless) {
    return harmless.ends_with('.') ? key.starts_with(harmless) : key == harmless;
  });
}

void refuse_other_config(const RunFolder& folder, const Config& config) {
  std::string changed;
  for (const auto& [key, text] : config_differences(folder.config(), config)) {
    if (!changes_no_result(key)) changed += "\n  " + text;
  }
  if (changed.empty()) return;
  throw ConfigError(
      fmt::format("the run in {} has another config; a resumed run must keep it. Changed:{}\nStart "
                  "a new run with "
                  "--out, from these weights with --set model.init_from={}",
                  folder.path().string(), changed, folder.path().string()));
}

Json sources_of(const RunData& data, const std::vector<RunTeacher>& teachers) {
  Json names = Json::array(), digests = Json::array();
  for (const RunTeacher& teacher : teachers) {
    names.push_back(teacher.name);
    digests.push_back(teacher.digest);
  }
  return {{"train_images", data.train_set->size()},
          {"train_digest", digest(*data.train_set)},
          {"teachers", names},
          {"teacher_digests", digests}};
}

void refuse_other_sources(const Json& state, const Json& sources) {
  if (!state.contains("train_digest")) return;  // saved before these were
  const auto names = [](const Json& json) {
    return json.at("teachers").get<std::vector<std::string>>();
  };
  const std::vector<std::string> before = names(state), now = names(sources);
  if (before != now) {
    throw Error(
        fmt::format("the run learned from {}, now its teacher is {}: name that checkpoint with "
                    "teacher.checkpoint, or start a new run",
                    fmt::join(before, ", "), fmt::join(now, ", ")));
  }
  for (size_t i = 0; i < now.size(); ++i) {
    if (state.at("teacher_digests").at(i) == sources.at("teacher_digests").at(i)) continue;
    throw Error(
        fmt::format("teacher {} has other weights than those that the run learned from: restore "
                    "them, or start a new run",
                    now[i]));
  }
  if (state.at("train_digest") != sources.at("train_digest")) {
    throw Error(fmt::format(
        "the training set is not the one that the run learned from: {} images then, {} "
        "now, or other labels or pixels. Restore it, or start a new run",
        state.at("train_images").get<int64_t>(), sources.at("train_images").get<int64_t>()));
  }
}

Checkpoint read_intact(const CheckpointStore& store, const std::string& name) {
  const std::filesystem::path folder = store.resolve(name);
  try {
    return read_checkpoint(folder);
  } catch (const Error& error) {
    for (const int64_t step : store.steps()) {
      try {
        read_checkpoint(store.path(step));
      } catch (const Error&) {
        continue;
      }
      const std::string intact = store.path(step).filename().string();
      throw Error(fmt::format("{}\n{} is intact: go on from it with --resume={}", error.what(),
                              intact, intact));
    }
    throw Error(fmt::format("{}\nno intact checkpoint is left", error.what()));
  }
}

}  // namespace umbra
