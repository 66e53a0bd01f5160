#include "train/loop/cache_maker.h"

#include <chrono>

#include "train/error.h"
#include "train/loop/precision.h"

namespace umbra {
namespace {

constexpr int64_t kDefaultTopK = 10;

double kl(const torch::Tensor& log_p, const torch::Tensor& log_q) {
  return (log_p.exp() * (log_p - log_q)).sum(1).mean().item<double>();
}

CacheCheck::Divergence divergence(const torch::Tensor& logits, const torch::Tensor& cached,
                                  const SparseForm& form, double temperature) {
  const torch::Tensor log_p = torch::log_softmax(logits / temperature, 1);
  const torch::Tensor log_q = torch::log_softmax(cached / temperature, 1);
  const torch::Tensor uniform =
      torch::full_like(log_p, -std::log(static_cast<double>(form.classes)));
  CacheCheck::Divergence result{temperature, 0.0, kl(log_p, log_q), 0.0};
  result.kept = std::get<0>(log_p.topk(form.top_k, 1)).exp().sum(1).mean().item<double>();
  result.of_kl = result.kl / kl(log_p, uniform);
  return result;
}

}  // namespace

CacheMaker::CacheMaker(LoadedConfig loaded)
    : loaded_(std::move(loaded)),
      config_(loaded_.config),
      data_(build_data(loaded_)),
      teachers_(build_teachers(config_, loaded_.sources, data_)),
      prepare_(config_.augment, config_.model.num_classes, config_.data_seed(), data_.device),
      loader_(data_.train_set, config_.augment,
              loader_options(config_, data_.device, /*train=*/true)) {
  epochs_ = data_.math.epochs_begun(data_.math.steps(config_.train.duration));
  if (config_.model.num_classes > kMaxSparseClasses) {
    throw ConfigError(fmt::format("a cache numbers classes with 16 bits: got {}, at most {}",
                                  config_.model.num_classes, kMaxSparseClasses));
  }
  const DataDigests digests = digests_of(config_, data_);
  for (size_t i = 0; i < teachers_.size(); ++i) {
    if (config_.teachers[i].cache.empty()) continue;
    targets_.push_back(
        {&teachers_[i], i, cache_subject(config_, teachers_[i], data_, digests), nullptr});
  }
  if (targets_.empty()) {
    throw ConfigError(fmt::format(
        "{}no teacher has a cache to fill: say where with --set {}.cache=FOLDER, or in the config",
        loaded_.sources.at("teacher"),
        item_key("teacher", 0, std::max<size_t>(1, teachers_.size()))));
  }
}

void CacheMaker::open_caches(int64_t top_k, bool create) {
  for (Target& target : targets_) {
    const std::string& folder = config_.teachers[target.index].cache;
    const std::string place =
        loaded_.sources.at(item_key("teacher", target.index, config_.teachers.size()) + ".cache");
    const int64_t classes = target.subject.classes;
    const TeacherUse use = use_of_teacher(config_.distill, target.index);
    const bool needs_all = use.reads >= TeacherUse::Reads::kAllLogits;
    const int64_t wanted = std::min(classes, top_k);
    if (needs_all && top_k > 0 && wanted < classes) {
      throw ConfigError(
          fmt::format("{}{} compares the logits of all classes: leave --top-k out, or "
                      "set it to {}",
                      place, use.by, classes));
    }
    if (create) {
      const int64_t usual = needs_all ? classes : std::min(classes, kDefaultTopK);
      TeacherCache::create(folder, target.subject, {classes, top_k > 0 ? wanted : usual}, [&] {
        Loader loader(data_.eval_set, config_.augment,
                      loader_options(config_, data_.device, /*train=*/false));
        return score_teacher(*target.teacher, target.index, loaded_, data_, loader,
                             prepare_.normalize());
      });
    }
    try {
      target.cache = std::make_unique<TeacherCache>(folder, target.subject);
    } catch (const Error& error) {
      throw ConfigError(place + error.what());
    }
    if (create && target.cache->precision() != config_.run.precision) {
      throw ConfigError(fmt::format(
          "{}the cache in {} was begun in {}, this machine would go on in {}: set run.precision",
          place, folder, target.cache->precision(), config_.run.precision));
    }
    const int64_t kept = target.cache->store().form().top_k;
    if (top_k == 0 || kept == wanted) continue;
    throw ConfigError(
        fmt::format("{}the cache in {} keeps the {} largest logits, not {}: name another folder",
                    place, folder, kept, top_k));
  }
}

void CacheMaker::write(const std::vector<int64_t>& epochs, int64_t top_k, const StopSignal& stop,
                       Terminal terminal) {
  open_caches(top_k, /*create=*/true);
  RunLog log({}, terminal);
  for (const std::string& note : data_.notes) log.info(note);
  for (const Target& target : targets_) {
    const SparseForm& form = target.cache->store().form();
    log.info(fmt::format("cache {}: {} of {} logits, {} bytes a view",
                         target.cache->folder().string(), form.top_k, form.classes,
                         form.row_bytes()));
  }
  for (const int64_t epoch : epochs) write_epoch(epoch, stop, log);
}

void CacheMaker::write_epoch(int64_t epoch, const StopSignal& stop, RunLog& log) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::unique_ptr<LogitStore::Writer>> writers;
  const int64_t steps = data_.math.steps_per_epoch;
  int64_t next = steps;
  for (const Target& target : targets_) {
    writers.push_back(std::make_unique<LogitStore::Writer>(target.cache->store(), epoch));
    next = std::min(next, writers.back()->next_step());
  }
  if (next == steps) {
    log.info(fmt::format("epoch {}/{} is there", epoch + 1, epochs_));
    return;
  }
  loader_.seek(epoch, next);
  for (; next < steps && stop.received() == 0; ++next) {
    const Clock::time_point start = Clock::now();
    RawBatch batch;
    TORCH_CHECK(loader_.next(batch), "the training loader ended");
    const std::vector<torch::Tensor> answers = ask(targets_, batch, epoch, next);
    for (size_t i = 0; i < targets_.size(); ++i) {
      if (writers[i]->next_step() != next) continue;
      if (!can_encode(answers[i])) {
        throw Error(fmt::format(
            "teacher {}, epoch {}, step {}: a logit is no number, or too large for the cache. "
            "Where it overflows in {}, try run.precision = \"fp32\"",
            targets_[i].teacher->name, epoch + 1, next + 1, config_.run.precision));
      }
      writers[i]->append(answers[i]);
    }
    asked_ += static_cast<double>(batch.rows());
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    log.progress(fmt::format("epoch {}/{} [{}/{}] {:.0f} views/s", epoch + 1, epochs_, next + 1,
                             steps, asked_ / seconds_),
                 static_cast<double>(next + 1), static_cast<double>(steps));
  }
  for (const auto& writer : writers) writer->sync();
  log.info(fmt::format("epoch {}/{} [{}/{}] {:.0f} views/s", epoch + 1, epochs_, next, steps,
                       seconds_ > 0.0 ? asked_ / seconds_ : 0.0));
  for (const BrokenSample& sample : loader_.take_broken()) {
    log.info(fmt::format("skipped, broken: {}: {}", sample.name, sample.reason));
  }
  if (stop.received() == 0) return;
  log.info(fmt::format("stopped by signal {}: the same command goes on here", stop.received()));
  throw Interrupted{stop.received()};
}

std::vector<torch::Tensor> CacheMaker::ask(std::span<Target> targets, const RawBatch& batch,
                                           int64_t epoch, int64_t step) {
  const int64_t per_epoch = data_.math.steps_per_epoch;
  const double exact_epoch =
      static_cast<double>(epoch) + static_cast<double>(step) / static_cast<double>(per_epoch);
  std::vector<std::vector<torch::Tensor>> answers(targets.size());
  const std::vector<RawBatch> parts = split(batch, config_.train.accum_steps);
  for (size_t part = 0; part < parts.size(); ++part) {
    const Batch views =
        prepare_(parts[part], epoch * per_epoch + step, static_cast<int64_t>(part), exact_epoch);
    const AutocastGuard autocast(data_.device, data_.precision);
    for (size_t i = 0; i < targets.size(); ++i) {
      answers[i].push_back(
          targets[i].teacher->answer(views.images).logits.to(torch::kCPU, torch::kFloat32));
    }
  }
  std::vector<torch::Tensor> whole;
  for (const auto& parts_of_one : answers) whole.push_back(torch::cat(parts_of_one));
  return whole;
}

std::vector<CacheCheck> CacheMaker::verify(int64_t steps) {
  open_caches(/*top_k=*/0, /*create=*/false);
  const int64_t per_epoch = data_.math.steps_per_epoch;
  std::vector<CacheCheck> checks;
  for (size_t t = 0; t < targets_.size(); ++t) {
    LogitStore& store = targets_[t].cache->store();
    const SparseForm form = store.form();
    std::vector<int64_t> there;
    for (int64_t epoch = 0; epoch < epochs_; ++epoch) {
      if (store.has(epoch)) there.push_back(epoch);
    }
    const std::string folder = targets_[t].cache->folder().string();
    if (there.empty()) throw Error(folder + " has no whole epoch yet: nothing to verify");
    CacheCheck check{targets_[t].teacher->name, folder, form, 0, 0.0, 0.0, {}, {}};
    const auto choices = static_cast<int64_t>(there.size()) * per_epoch;
    std::vector<torch::Tensor> asked, kept;
    for (int64_t i = 0; i < std::min(steps, choices); ++i) {
      const int64_t choice = i * choices / std::min(steps, choices);
      const int64_t epoch = there[choice / per_epoch], step = choice % per_epoch;
      RawBatch batch;
      loader_.seek(epoch, step);
      TORCH_CHECK(loader_.next(batch), "the training loader ended");
      asked.push_back(ask({&targets_[t], 1}, batch, epoch, step).front());
      kept.push_back(store.read(epoch, step, 0, batch.rows()));
      const torch::Tensor scale = asked.back().abs().amax(1, /*keepdim=*/true);
      const torch::Tensor off = ((asked.back() - kept.back()) / scale)
                                    .gather(1, std::get<1>(kept.back().topk(form.top_k, 1)))
                                    .abs()
                                    .amax(1);
      const double worst = off.max().item<double>();
      const bool worse = !std::isnan(check.difference) && !(worst <= check.difference);
      if (worse || check.worst.empty()) {
        check.difference = worst;
        check.worst = fmt::format("epoch {}, step {}, row {}", epoch + 1, step + 1,
                                  off.argmax().item<int64_t>() + 1);
      }
    }
    const torch::Tensor z = torch::cat(asked), q = torch::cat(kept);
    check.views = z.size(0);
    check.same_top1 = 100.0 * z.argmax(1).eq(q.argmax(1)).to(torch::kFloat64).mean().item<double>();
    for (const double temperature : {1.0, 2.0, 4.0, 8.0}) {
      check.divergences.push_back(divergence(z, q, form, temperature));
    }
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace umbra
