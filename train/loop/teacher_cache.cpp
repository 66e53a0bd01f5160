#include "train/loop/teacher_cache.h"

#include "augment/to_device.h"
#include "train/checksum.h"
#include "train/config/dump.h"
#include "train/error.h"
#include "train/files.h"
#include "train/json_text.h"
#include "train/loop/run_folder.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormat = 1;

fs::path facts_path(const fs::path& folder) { return folder / "cache.json"; }
fs::path config_path(const fs::path& folder) { return folder / "config.toml"; }

// Whether what the teacher sees, or how it is filed, depends on the key.
bool decides_answers(const std::string& key, const Config& config) {
  if (key == "train.batch_size") return true;
  if (key == "train.accum_steps") return config.augment.mixes();  // each part is mixed by itself
  constexpr std::array<std::string_view, 10> kElsewhere = {"augment.preset",
                                                           "augment.crop_pct",
                                                           "augment.eval_interpolation",
                                                           "augment.label_smoothing",
                                                           "data.seed",
                                                           "data.path",
                                                           "data.format",
                                                           "data.workers",
                                                           "data.prefetch",
                                                           "data.memory_gb"};
  return (key.starts_with("augment.") || key.starts_with("data.")) &&
         std::find(kElsewhere.begin(), kElsewhere.end(), key) == kElsewhere.end();
}

Json to_json(const EpochShape& shape) {
  return {{"steps", shape.steps}, {"rows", shape.rows}, {"last_rows", shape.last_rows}};
}

// A line for everything in which `subject` is not what the cache was made for.
std::string differences(const Json& facts, const Config& config, const CacheSubject& subject) {
  std::string lines;
  if (config.data_seed() != subject.config.data_seed()) {
    lines += fmt::format("\n  data.seed (or run.seed): {} -> {}", config.data_seed(),
                         subject.config.data_seed());
  }
  for (const auto& [key, text] : config_differences(config, subject.config)) {
    if (decides_answers(key, subject.config)) lines += "\n  " + text;
  }
  const bool noise = config.augment.erase_prob > 0.0 && config.augment.erase_mode != "const";
  if (noise && facts.at("device") != subject.device) {
    lines += fmt::format(
        "\n  device, which makes the noise of augment.erase_mode = \"{}\": {} -> {}",
        config.augment.erase_mode, facts.at("device").get<std::string>(), subject.device);
  }
  if (lines.empty() && facts.at("train_digest") != subject.train_digest) {
    lines += fmt::format("\n  data: {} -> {} (other images or labels)", config.data.path,
                         subject.config.data.path);
  }
  if (facts.at("teacher_digest") != subject.teacher_digest) {
    lines += fmt::format("\n  teacher: {} -> {} (other weights, or another normalisation)",
                         facts.at("teacher").get<std::string>(), subject.teacher);
  }
  if (facts.at("classes") != subject.classes) {
    lines +=
        fmt::format("\n  classes: {} -> {}", facts.at("classes").get<int64_t>(), subject.classes);
  }
  if (lines.empty() && facts.at("shape") != to_json(subject.shape)) {
    lines = fmt::format("\n  steps of an epoch: {} -> {}", facts.at("shape").dump(),
                        to_json(subject.shape).dump());
  }
  return lines;
}

// Tells the records of this cache from those of any other.
uint32_t identity_of(const Json& facts, const Config& config) {
  Checksum sum;
  const auto add = [&](const std::string& text) { sum.add(text.data(), text.size() + 1); };
  for (const char* key :
       {"teacher_digest", "train_digest", "device", "classes", "top_k", "shape"}) {
    add(facts.at(key).dump());
  }
  add(std::to_string(config.data_seed()));
  for (const auto& [key, text] : config_differences(Config{}, config)) {
    if (decides_answers(key, config)) add(text);
  }
  return sum.value();
}

bool is_cache(const fs::path& folder) { return fs::exists(facts_path(folder)); }

// "1-3, 7": epochs counted from 0, named from 1.
std::string epoch_ranges(const std::vector<int64_t>& epochs) {
  std::vector<std::string> ranges;
  for (size_t i = 0; i < epochs.size();) {
    size_t end = i + 1;
    while (end < epochs.size() && epochs[end] == epochs[end - 1] + 1) ++end;
    const int64_t first = epochs[i] + 1, last = epochs[end - 1] + 1;
    ranges.push_back(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last));
    i = end;
  }
  return fmt::format("{}", fmt::join(ranges, ", "));
}

}  // namespace

void TeacherCache::create(const fs::path& folder, const CacheSubject& subject,
                          const SparseForm& form, const std::function<TeacherScore()>& ask_score) {
  make_folder(folder);
  const FolderLock lock(folder, FolderLock::IfTaken::kWait);
  if (is_cache(folder)) return;
  const TeacherScore score = ask_score();
  const torch::Tensor seen = score.predictions.contiguous();
  const auto* classes = seen.const_data_ptr<int64_t>();
  const Json facts = {{"format", kFormat},
                      {"teacher", subject.teacher},
                      {"teacher_digest", subject.teacher_digest},
                      {"train_digest", subject.train_digest},
                      {"eval_digest", subject.eval_digest},
                      {"device", subject.device},
                      {"precision", subject.config.run.precision},
                      {"classes", subject.classes},
                      {"top_k", form.top_k},
                      {"shape", to_json(subject.shape)},
                      {"score", {{"top1", score.top1}, {"top5", score.top5}, {"loss", score.loss}}},
                      {"predictions", std::vector<int64_t>(classes, classes + seen.numel())}};
  write_file_synced(config_path(folder), dump_config(subject.config));
  write_file_synced(facts_path(folder), json_text(facts) + "\n");  // last: with it there is a cache
}

TeacherCache::TeacherCache(fs::path folder, const CacheSubject& subject)
    : folder_(std::move(folder)) {
  if (!is_cache(folder_)) {
    throw Error(fmt::format("{} holds no cache of a teacher: make it with umbra cache CONFIG",
                            folder_.string()));
  }
  try {
    const Json facts = Json::parse(read_file(facts_path(folder_)));
    if (facts.at("format") != kFormat) {
      throw Error(fmt::format("{} has format {}, this program reads {}", folder_.string(),
                              facts.at("format").dump(), kFormat));
    }
    const Config config = load_config(config_path(folder_).string()).config;
    if (const std::string lines = differences(facts, config, subject); !lines.empty()) {
      throw Error(fmt::format(
          "the cache in {} was made for something else, so its logits are not those of this run. "
          "Differing:{}\nRestore that, make a cache for this config in another folder, or leave "
          "teacher.cache out",
          folder_.string(), lines));
    }
    if (facts.at("eval_digest") == subject.eval_digest) {
      const auto& score = facts.at("score");
      score_ = {score.at("top1"), score.at("top5"), score.at("loss"),
                torch::tensor(facts.at("predictions").get<std::vector<int64_t>>())};
    }
    precision_ = facts.at("precision");
    const int64_t top_k = facts.at("top_k");
    if (top_k < 1 || top_k > subject.classes) {
      throw Error(fmt::format("{} is damaged: top_k = {} of {} classes",
                              facts_path(folder_).string(), top_k, subject.classes));
    }
    store_ = std::make_unique<LogitStore>(folder_, identity_of(facts, config),
                                          SparseForm{subject.classes, top_k}, subject.shape);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{} is damaged: {}", facts_path(folder_).string(), error.what()));
  }
}

void TeacherCache::require_epochs(int64_t count) const {
  std::vector<int64_t> missing;
  for (int64_t epoch = 0; epoch < count; ++epoch) {
    if (!store_->has(epoch)) missing.push_back(epoch);
  }
  if (missing.empty()) return;
  throw Error(fmt::format("the cache in {} lacks epochs {} of {}: umbra cache CONFIG makes them",
                          folder_.string(), epoch_ranges(missing), count));
}

torch::Tensor TeacherCache::logits_of(const Batch& batch) {
  const int64_t steps = store_->shape().steps;
  return augment::to_device(
      store_->read(batch.step / steps, batch.step % steps, batch.first_row, batch.images.size(0)),
      batch.images.device());
}

std::string digest(const Dataset& dataset) {
  Checksum sum;
  for (const std::string& name : dataset.class_names()) sum.add(name.data(), name.size() + 1);
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const int64_t label = dataset.label(i);
    sum.add(&label, sizeof label);
  }
  const int64_t probes = std::min<int64_t>(64, dataset.size());
  for (int64_t i = 0; i < probes; ++i) {
    try {
      const cv::Mat image = dataset.image(i * dataset.size() / probes).clone();
      sum.add(image.data, image.total() * image.elemSize());
    } catch (const Error&) {  // broken: whoever needs the image will say so
      sum.add("broken", 6);
    }
  }
  return sum.hex();
}

}  // namespace umbra
