#include "train/loop/trainer.h"

#include <torch/cuda.h>

#include "train/files.h"
#include "train/json_text.h"
#include "train/loop/resume.h"
#include "train/machine.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using augment::Purpose;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

torch::Tensor share_equal(const torch::Tensor& a, const torch::Tensor& b) {
  return a.argmax(1).eq(b.argmax(1)).to(torch::kFloat64).mean();
}

}  // namespace

Trainer::Trainer(LoadedConfig loaded, RunFolder folder, const std::optional<std::string>& resume)
    : loaded_(std::move(loaded)),
      config_(loaded_.config),
      folder_(std::move(folder)),
      parts_(build_parts(loaded_, /*fresh=*/!resume || folder_.checkpoints().steps().empty())),
      prepare_(config_.augment, config_.model.num_classes, config_.data_seed(), parts_.device),
      train_loader_(parts_.train_set, config_.augment,
                    loader_options(config_, parts_.device, /*train=*/true)),
      eval_loader_(parts_.eval_set, config_.augment,
                   loader_options(config_, parts_.device, /*train=*/false)),
      upload_(parts_.device) {
  if (config_.run.cuda_graph) replay_.emplace(parts_.device);
  if (!resume) return;
  lock_ = std::make_unique<FolderLock>(folder_.path(), FolderLock::IfTaken::kRefuse);
  restore(*resume);
}

Json Trainer::fit(const StopSignal& stop, Terminal terminal) {
  if (sources_.is_null()) sources_ = sources_of(parts_, parts_.teachers);  // else by the resume
  check_teachers();
  open_folder(terminal);
  announce();
  start();
  while (step_ < parts_.total_steps) {
    const Clock::time_point step_start = Clock::now();
    make_step(step_start);  //  1.-8.
    log(step_start);        //  9. log
    evaluate_if_due();      // 10. evaluate
    save_if_due(stop);      // 11. checkpoint
  }
  const Json result = summary();
  write_file_synced(folder_.path() / "summary.json", json_text(result, 1) + "\n");
  return result;
}

Speed Trainer::measure(int64_t warm_up, int64_t steps) {
  step_ = first_step_ = parts_.phases.back().begin;  // of the training, not of a fit before it
  if (warm_up + steps > parts_.training_steps()) {
    throw Error(fmt::format("{} steps to warm up and {} to measure are more than the run's {}",
                            warm_up, steps, parts_.training_steps()));
  }
  log_ = std::make_unique<RunLog>(fs::path(), Terminal::kQuiet);
  start();
  const auto run = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) make_step(Clock::now());
    if (parts_.device.is_cuda()) torch::cuda::synchronize(parts_.device.index());
  };
  run(warm_up);
  interval_.clear();
  Speed speed;
  speed.resident_gb_before = resident_gigabytes();
  const Clock::time_point begin = Clock::now();
  run(steps);
  speed.seconds = seconds_since(begin);
  speed.data_share = interval_.data_share();
  speed.resident_gb_after = resident_gigabytes();
  speed.peak_resident_gb = peak_resident_gigabytes();
  return speed;
}

void Trainer::open_folder(Terminal terminal) {
  if (!lock_) {
    make_folder(folder_.path());
    lock_ = std::make_unique<FolderLock>(folder_.path(), FolderLock::IfTaken::kRefuse);
    if (folder_.exists()) {  // since this process started
      throw Error(fmt::format("another process has begun a run in {}", folder_.path().string()));
    }
  }
  folder_.create(config_);
  const int64_t discarded = folder_.checkpoints().discard_after(step_);
  RunLog::rewind(folder_.path(), step_);
  log_ = std::make_unique<RunLog>(folder_.path(), terminal);
  if (discarded > 0) {
    log_->info(fmt::format("{} checkpoint(s) after step {} removed", discarded, step_));
  }
}

void Trainer::announce() {
  log_->info(fmt::format("run {} on {}, {}, seed {}", folder_.path().string(),
                         describe(parts_.device), config_.run.precision, config_.run.seed));
  for (const std::string& note : parts_.notes) log_->info(note);
  for (const Json& row : teacher_rows_) {
    log_->info(fmt::format("teacher {}: top-1 {:.2f} top-5 {:.2f} loss {:.3f}",
                           row["name"].get<std::string>(), row["top1"].get<double>(),
                           row["top5"].get<double>(), row["loss"].get<double>()));
    if (step_ == 0) log_->row(row);
  }
  report_broken();
  if (step_ > 0) log_->info(fmt::format("resumed after step {}", step_));
}

void Trainer::start() {
  process_start_ = Clock::now();
  train_loader_.seek(step_ / parts_.math.steps_per_epoch, step_ % parts_.math.steps_per_epoch);
  parts_.model->module().train(config_.model.freeze == "none");
}

void Trainer::make_step(Clock::time_point step_start) {
  enter_phase();
  torch::manual_seed(augment::seed_of(
      {static_cast<uint64_t>(config_.run.seed), Purpose::kModel, static_cast<uint64_t>(step_)}));
  const RawBatch batch = next_batch();  // 1. next batch
  const bool replaying =
      replay_ && replay_->has_begun();  // into gradients that stay where they are
  phase_->optimizer->zero_grad(/*set_to_none=*/!replaying);
  const std::vector<RawBatch> pieces = split(batch, config_.train.accum_steps);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const double weight = static_cast<double>(pieces[i].rows()) / static_cast<double>(batch.rows());
    learn(pieces[i], static_cast<int64_t>(i), weight);  // 2.-6. mix, teachers, student,
  }                                                     //       objective, backward
  update();                                             // 7. update
  if (parts_.ema && !phase_->fit) parts_.ema->update(step_ - phase_->begin);  // 8. EMA
  ++step_;
  if (log_is_due() && parts_.device.is_cuda()) {  // the rate counts what is still being computed
    torch::cuda::synchronize(parts_.device.index());
  }
  interval_.end_step(batch.samples(), seconds_since(step_start), data_seconds_);
}

// Fits that the objective wants come first; then the training.
void Trainer::enter_phase() {
  const Phase* before = phase_;
  for (const Phase& phase : parts_.phases) {
    phase_ = &phase;
    if (step_ < phase.end) break;
  }
  if (phase_ == before) return;
  if (phase_->fit) log_->info(fmt::format("fit {}", phase_->fit->name));
  if (phase_->begin == 0 || step_ != phase_->begin) return;
  for (const Phase& phase : parts_.phases) phase.optimizer->zero_grad();  // of what is frozen now
  if (parts_.ema) parts_.ema->restart();
  log_->info(phase_->fit ? "the fit is done" : "the fit is done: training starts");
}

RawBatch Trainer::next_batch() {
  const Clock::time_point start = Clock::now();
  RawBatch batch;
  try {
    TORCH_CHECK(train_loader_.next(batch), "the training loader ended");
  } catch (const Error&) {
    report_broken();
    throw;
  }
  data_seconds_ = seconds_since(start);
  report_broken();
  return upload_(std::move(batch));
}

std::vector<ModelOutput> Trainer::ask_teachers(const Batch& batch) {
  std::vector<ModelOutput> outputs(parts_.teachers.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (parts_.teachers[i].cache) {
      outputs[i].logits = batch.cached_logits[i];
    } else {
      outputs[i] = parts_.teachers[i].answer(batch.images);
    }
  }
  return outputs;
}

void Trainer::learn(const RawBatch& part, int64_t part_index, double weight) {
  Batch batch = prepare_(part, step_, part_index, epoch());  // 2. normalise, erase, mix
  for (const RunTeacher& teacher : parts_.teachers) {
    batch.cached_logits.push_back(teacher.cache ? teacher.cache->logits_of(batch)
                                                : torch::Tensor());
  }
  const auto work = [this, weight](const Batch& given) { return teach(given, weight); };
  const bool replays =
      replay_ && !phase_->fit && batch.epoch >= *parts_.objective->replayable_from();
  const Lesson lesson =
      replays ? replay_->run(batch, {weight, batch.images.sizes().vec()}, work) : work(batch);
  interval_.add(lesson.loss, weight);
  if (lesson.agreement.defined()) interval_.add("agreement", weight * lesson.agreement);
}

Lesson Trainer::teach(const Batch& batch, double weight) {
  Lesson lesson;
  Loss& loss = lesson.loss;
  {
    const AutocastGuard autocast(parts_.device, parts_.precision);
    const std::vector<ModelOutput> teachers = ask_teachers(batch);  // 3. teachers
    ModelOutput student;
    if (!phase_->fit || phase_->fit->trains_student) {
      student = parts_.model->forward(batch.images);  // 4. student
    }
    if (phase_->fit) {
      loss.add(phase_->fit->name, 1.0,
               [&] { return parts_.objective->fit_loss(*phase_->fit, batch, student, teachers); });
    } else {
      loss = parts_.objective->compute(batch, student, teachers);  // 5. objective
      if (!teachers.empty()) {
        lesson.agreement = share_equal(student.logits, teachers[0].logits);
      }
    }
  }
  TORCH_CHECK(loss.total.defined(), "no term of the loss has a weight above 0");
  (loss.total * weight).backward();  // 6. backward
  loss.total = loss.total.detach();
  return lesson;
}

void Trainer::update() {
  const torch::Tensor norm = clip_grad_norm(phase_->optimizer->groups(), phase_->clip_grad_norm);
  interval_.add("grad_norm", norm);
  phase_->optimizer->step(phase_->lr(step_));
}

// With data.on_broken = "skip": each broken sample is named once.
void Trainer::report_broken() {
  for (const auto& [loader, known] :
       {std::pair(&train_loader_, &broken_.train), std::pair(&eval_loader_, &broken_.eval)}) {
    for (const BrokenSample& sample : loader->take_broken()) {
      if (!known->insert(sample.index).second) continue;
      log_->row(
          {{"kind", "broken"}, {"step", step_}, {"name", sample.name}, {"reason", sample.reason}});
      log_->info(fmt::format("skipped, broken: {}: {}", sample.name, sample.reason));
    }
  }
}

void Trainer::log(Clock::time_point step_start) {
  train_seconds_ += seconds_since(step_start);
  const double done = static_cast<double>(step_ - first_step_);
  const double elapsed = seconds_since(process_start_);
  const double left = elapsed / done * static_cast<double>(parts_.total_steps - step_);
  log_->progress(fmt::format("{} {}eta {}", position(), bar_facts_, clock_text(left)),
                 static_cast<double>(step_), static_cast<double>(parts_.total_steps));
  if (!log_is_due()) return;
  refuse_divergence();

  const double lr = phase_->lr(step_ - 1);
  Json row = {
      {"kind", phase_->fit ? "fit" : "train"}, {"step", step_}, {"epoch", epoch()}, {"lr", lr}};
  std::vector<std::string> terms;  // for people
  for (const auto& [name, mean] : interval_.means()) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos) {
      row[name] = name == "agreement" ? 100.0 * mean : mean;
    } else {
      row["terms"][name.substr(dot + 1)] = mean;
      terms.push_back(fmt::format("{} {:.3f}", name.substr(dot + 1), mean));
    }
  }
  row["images_per_second"] = interval_.images_per_second();
  row["data_share"] = interval_.data_share();
  log_->row(row);
  bar_facts_ = fmt::format("loss {:.3f} ({:.3f}) lr {:.1e} {:.0f} img/s data {:.0f}% ",
                           interval_.last_loss(), row["loss"].get<double>(), lr,
                           interval_.images_per_second(), 100.0 * interval_.data_share());
  log_->interval(fmt::format("{} {}eta {} mem {:.1f}G{}{}", position(), bar_facts_,
                             clock_text(left), resident_gigabytes(), terms.size() > 1 ? "  " : "",
                             terms.size() > 1 ? fmt::format("{}", fmt::join(terms, " ")) : ""));
  interval_.clear();
}

// Stops before weights that are no longer finite can be saved.
void Trainer::refuse_divergence() const {
  const std::string diverged = interval_.first_not_finite();
  if (diverged.empty()) return;
  const std::vector<int64_t> saved = folder_.checkpoints().steps();
  throw Error(
      fmt::format("{} is no longer finite between steps {} and {}: training has diverged. Last "
                  "good checkpoint: {}. Try a lower optim.lr, a longer schedule.warmup or "
                  "optim.clip_grad_norm = 1.0",
                  diverged, step_ - interval_.steps() + 1, step_,
                  saved.empty() ? "none" : folder_.checkpoints().path(saved.front()).string()));
}

void Trainer::evaluate_if_due() {
  if (!phase_->fit && is_due(config_.eval.every)) evaluate_student();
}

void Trainer::evaluate_student() {
  parts_.model->module().eval();
  scores_ = Json::object();
  scored_step_ = step_;
  const auto run = [&](Model& model, const char* weights) {
    scores_[weights] = score(
        evaluate(student_forward(model), eval_loader_, prepare_.normalize(), teacher_predictions_),
        weights);
  };
  run(*parts_.model, "raw");
  if (parts_.ema) run(parts_.ema->model(), "ema");
  parts_.model->module().train(config_.model.freeze == "none");
  report_broken();
}

// Logs one evaluation and keeps it if it is the best so far.
Json Trainer::score(const EvalResult& result, const char* weights) {
  Json heads = Json::object();
  std::string line = fmt::format("{} {:<4}", position(), weights);
  for (const HeadScore& head : result.heads) {
    heads[head.head] = {
        {"top1", head.top1}, {"top5", head.top5}, {"loss", head.loss}, {"ece", head.ece}};
    line += fmt::format("  {} top-1 {:.2f} top-5 {:.2f}", head.head, head.top1, head.top5);
  }
  line += fmt::format("  loss {:.3f}", result.heads.front().loss);
  Json row = {{"kind", "eval"},     {"step", step_},           {"epoch", epoch()},
              {"weights", weights}, {"images", result.images}, {"heads", heads}};
  if (result.agreement >= 0.0) {
    row["agreement"] = result.agreement;
    line += fmt::format("  agreement {:.1f}", result.agreement);
  }
  log_->row(row);
  log_->info(line);
  const double top1 = result.head(config_.distill.headline).top1;
  if (top1 > best_top1_) {
    best_top1_ = top1;
    best_step_ = step_;
  }
  heads["headline"] = top1;
  if (result.agreement >= 0.0) heads["agreement"] = result.agreement;
  return heads;
}

void Trainer::save_if_due(const StopSignal& stop) {
  const int signal = stop.received();
  if (!is_due(config_.checkpoint.every) && best_step_ != step_ && signal == 0) return;
  refuse_divergence();
  folder_.checkpoints().save(step_, snapshot(), config_.checkpoint.keep, best_step_);
  if (signal == 0 || step_ == parts_.total_steps) return;
  log_->info(
      fmt::format("stopped by signal {}; saved step {}: go on with --resume", signal, step_));
  throw Interrupted{signal};
}

Checkpoint Trainer::snapshot() {
  Checkpoint checkpoint;
  checkpoint.tensors["model"] = state_of(parts_.model->module());
  if (parts_.ema) checkpoint.tensors["ema"] = state_of(parts_.ema->model().module());
  if (const auto module = parts_.objective->module()) {
    checkpoint.tensors["objective"] = state_of(*module);
  }
  for (const auto& [name, tensor] : phase_->optimizer->state()) {
    checkpoint.tensors["optimizer"].emplace(name, tensor);
  }
  checkpoint.state = {{"epoch", epoch()},
                      {"best_step", best_step_},
                      {"best_top1", best_top1_},
                      {"scores", scores_},
                      {"interval", interval_.to_json()},
                      {"seconds", seconds()},
                      {"train_seconds", train_seconds_},
                      {"broken", {{"train", broken_.train}, {"eval", broken_.eval}}},
                      {"scored_step", scored_step_},
                      {"class_names", parts_.train_set->class_names()}};
  checkpoint.state.update(sources_);
  if (scores_.contains("raw")) checkpoint.state["top1"] = scores_["raw"]["headline"];
  if (scores_.contains("ema")) checkpoint.state["ema_top1"] = scores_["ema"]["headline"];
  return checkpoint;
}

void Trainer::restore(const std::string& name) {
  refuse_other_config(folder_, config_);
  const bool none_yet = folder_.checkpoints().steps().empty();
  if (none_yet && name == "last") return;  // killed before its first checkpoint
  const Checkpoint checkpoint = read_intact(folder_.checkpoints(), name);
  try {
    take_over(checkpoint);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("the checkpoint's state.json lacks something: {}", error.what()));
  } catch (const std::out_of_range&) {
    throw Error("the checkpoint lacks tensors that this run has");
  }
}

void Trainer::take_over(const Checkpoint& checkpoint) {
  const Json& state = checkpoint.state;
  sources_ = sources_of(parts_, parts_.teachers);
  refuse_other_sources(state, sources_);
  load_state(parts_.model->module(), checkpoint.tensors.at("model"));
  if (parts_.ema) load_state(parts_.ema->model().module(), checkpoint.tensors.at("ema"));
  if (const auto module = parts_.objective->module()) {
    load_state(*module, checkpoint.tensors.at("objective"));
  }
  step_ = first_step_ = state.at("step");
  // The optimiser that made the last step; a phase that starts here has a fresh one.
  const TensorMap& optimizer = checkpoint.tensors.at("optimizer");
  for (const Phase& phase : parts_.phases) {
    if (step_ <= phase.begin || step_ > phase.end) continue;
    for (auto& [key, tensor] : phase.optimizer->state()) tensor.copy_(optimizer.at(key));
  }
  best_step_ = state.at("best_step");
  best_top1_ = state.at("best_top1");
  scores_ = state.at("scores");
  interval_.from_json(state.at("interval"));
  earlier_seconds_ = state.at("seconds");
  train_seconds_ = state.at("train_seconds");
  scored_step_ = state.value("scored_step", int64_t{-1});
  if (state.contains("broken")) {
    state.at("broken").at("train").get_to(broken_.train);
    state.at("broken").at("eval").get_to(broken_.eval);
  }
  if (best_step_ < 0 || fs::exists(folder_.checkpoints().path(best_step_))) return;
  parts_.notes.push_back(
      fmt::format("the best checkpoint until then, step {}, is gone: the best from here on counts",
                  best_step_));
  const bool scored_here = scored_step_ == step_;
  best_step_ = scored_here ? step_ : -1;
  best_top1_ =
      scored_here ? std::max(state.value("top1", -1.0), state.value("ema_top1", -1.0)) : -1.0;
}

// Scores every teacher before any training.
void Trainer::check_teachers() {
  for (size_t i = 0; i < parts_.teachers.size(); ++i) {
    const TeacherScore score =
        score_teacher(parts_.teachers[i], i, loaded_, parts_, eval_loader_, prepare_.normalize());
    if (i == 0) teacher_predictions_ = score.predictions;
    teacher_rows_.push_back({{"kind", "teacher"},
                             {"step", 0},
                             {"teacher", i},
                             {"name", parts_.teachers[i].name},
                             {"top1", score.top1},
                             {"top5", score.top5},
                             {"loss", score.loss}});
  }
}

Json Trainer::summary() const {
  const double images = static_cast<double>(step_ * config_.train.batch_size);
  return {{"name", folder_.path().filename().string()},
          {"model", config_.model.name},
          {"parameters", count_parameters(parts_.model->module())},
          {"preset", config_.distill.preset},
          {"objective", describe(config_.distill)},
          {"seed", config_.run.seed},
          {"train_images", parts_.train_set->size()},
          {"broken_images", broken_.train.size() + broken_.eval.size()},
          {"steps", step_},
          {"epochs", epoch()},
          {"batch_size", config_.train.batch_size},
          {"lr", scaled_lr(config_.optim, config_.train.batch_size)},
          {"minutes", seconds() / 60.0},
          {"images_per_second", images / train_seconds_},
          {"headline", config_.distill.headline},
          {"last", scores_},
          {"best", {{"step", best_step_}, {"top1", best_top1_}}}};
}

Forward Trainer::student_forward(Model& model) const {
  return [this, &model](const torch::Tensor& images) {
    const AutocastGuard autocast(parts_.device, parts_.precision);
    return model.forward(images);
  };
}

double Trainer::seconds() const { return earlier_seconds_ + seconds_since(process_start_); }

// At the end of a fit, too: rows never mix fit and training.
bool Trainer::log_is_due() const {
  return (phase_->fit && step_ == phase_->end) || is_due(config_.log.every);
}

bool Trainer::is_due(const Duration& every) const {
  const int64_t steps = std::max<int64_t>(1, parts_.math.steps(every));
  return (step_ - phase_->begin) % steps == 0 || step_ == parts_.total_steps;
}

double Trainer::epoch() const {
  const int64_t begin = (phase_ ? *phase_ : parts_.phases.back()).begin;
  return static_cast<double>(step_ - begin) / static_cast<double>(parts_.math.steps_per_epoch);
}

std::string Trainer::position() const {
  const int64_t per_epoch = parts_.math.steps_per_epoch;
  const int64_t last = std::max<int64_t>(step_ - phase_->begin - 1, 0);
  const int64_t epochs = parts_.math.epochs_begun(phase_->end - phase_->begin);
  const auto width = std::to_string(per_epoch).size();
  return fmt::format("{}epoch {}/{} [{:>{}}/{}]", phase_->fit ? phase_->fit->name + " " : "",
                     last / per_epoch + 1, epochs, last % per_epoch + 1, width, per_epoch);
}

}  // namespace umbra
