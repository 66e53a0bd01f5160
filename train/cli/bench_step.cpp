#include <chrono>

#include <ATen/Parallel.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include "train/cli/bench.h"
#include "train/cli/commands.h"
#include "train/cli/op_times.h"
#include "train/cli/shared.h"
#include "train/config/load.h"
#include "train/distill/frozen_network.h"
#include "train/distill/losses.h"
#include "train/loop/precision.h"
#include "train/loop/replay.h"
#include "train/machine.h"
#include "train/macs.h"
#include "train/optim/optimizer.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct StepBench {
  std::string model = "deit_tiny_distilled_patch16_224", precision = "auto", device = "auto";
  std::vector<std::string> overrides;
  int64_t batch_size = 32, image_size = 0, classes = 0, threads = 0;
  double seconds = 10.0;
  bool json = false, profile = false;
};

// What is measured: `work` once per step.
struct Measured {
  std::vector<double> seconds;  // of each step, ascending

  double rate(double images) const { return images / seconds[seconds.size() / 2]; }
  double best_rate(double images) const { return images / seconds.front(); }
};

constexpr int kWarmUp = 5;  // of which a replayed step is recorded in the fourth

Measured measure(const torch::Device& device, double limit, const std::function<void()>& work) {
  const auto timed = [&] {
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
    const auto start = std::chrono::steady_clock::now();
    work();
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  constexpr int kAtLeast = 5;
  for (int i = 0; i < kWarmUp; ++i) timed();
  Measured measured;
  double total = 0.0;
  while (total < limit || measured.seconds.size() < kAtLeast) {
    measured.seconds.push_back(timed());
    total += measured.seconds.back();
  }
  std::sort(measured.seconds.begin(), measured.seconds.end());
  return measured;
}

// Three more steps, and what each operation takes of them.
void print_profile(const std::function<void()>& work) {
  constexpr int kSteps = 3, kRows = 25;
  const OpRecorder recorder;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kSteps; ++i) work();
  const double total =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("\n{:<52} {:>8} {:>12} {:>7}\n", "operation", "calls", "ms per step", "share");
  double shown = 0.0;
  const std::vector<OpTime> times = recorder.times();
  for (size_t i = 0; i < times.size() && i < kRows; ++i) {
    shown += times[i].seconds;
    fmt::print("{:<52} {:>8} {:>12.2f} {:>6.1f}%\n", times[i].name, times[i].calls / kSteps,
               1e3 * times[i].seconds / kSteps, 100.0 * times[i].seconds / total);
  }
  fmt::print("{:<52} {:>8} {:>12.2f} {:>6.1f}%\n", "all others", "", 1e3 * (total - shown) / kSteps,
             100.0 * (total - shown) / total);
}

// Operations per second of a large matrix product: what the machine does at its best.
double matmul_rate(const torch::Device& device, torch::ScalarType precision) {
  const int64_t n = device.is_cuda() ? 8192 : 2048;
  const auto options = torch::TensorOptions().device(device).dtype(precision);
  const torch::Tensor a = torch::randn({n, n}, options), b = torch::randn({n, n}, options);
  torch::Tensor c = torch::empty({n, n}, options);
  const auto size = static_cast<double>(n);
  return measure(device, /*limit=*/0.5, [&] { torch::mm_out(c, a, b); })
      .best_rate(2.0 * size * size * size);
}

// The networks and conditions that the arguments name.
struct Bench {
  Config config;
  torch::Device device = torch::kCPU;
  torch::ScalarType precision = torch::kFloat32;
  std::unique_ptr<Model> model;
  int64_t macs = 0;  // of one forward pass of one image
  Batch batch;

  explicit Bench(const StepBench& arguments) {
    const PublishedInput input = published_input(arguments.model);
    const int64_t side = arguments.image_size > 0 ? arguments.image_size : input.image_size;
    const int64_t classes =
        arguments.classes > 0 ? arguments.classes : (input.image_size <= 32 ? 100 : 1000);
    const bool vit = named_model(arguments.model).is_vit();
    config = parse_config(fmt::format("[augment]\nimage_size = {}\n[model]\nname = \"{}\"\n"
                                      "num_classes = {}\nin_chans = 3\n[optim]\nname = \"{}\"\n",
                                      side, arguments.model, classes, vit ? "adamw" : "sgd"),
                          "bench", arguments.overrides)
                 .config;
    device = prepare_device(arguments.device, arguments.threads);
    precision = choose_precision(arguments.precision, device);
    torch::manual_seed(0);
    model = create_model(config.model);
    const int64_t size = config.augment.image_size;  // --set may have changed it, and the others
    macs = measure_cost(*model, size).macs;
    move_to(model->module(), device);
    batch.images =
        torch::randn({arguments.batch_size, config.model.in_chans, size, size}).to(device);
    batch.labels = torch::randint(config.model.num_classes, {arguments.batch_size}).to(device);
    batch.targets = batch.pretext_labels = batch.labels;
  }
};

// `passes`: how many forward passes the work is worth; forward and backward are three.
void report(const Bench& bench, const StepBench& arguments, const char* what,
            const Measured& measured, double passes) {
  const auto batch = static_cast<double>(arguments.batch_size);
  const double rate = measured.rate(batch);
  const double operations = 2.0 * passes * static_cast<double>(bench.macs) * rate;
  const double memory = peak_resident_gigabytes();
  const double peak = matmul_rate(bench.device, bench.precision);
  const Json result = {{"what", what},
                       {"model", bench.config.model.name},
                       {"image_size", bench.config.augment.image_size},
                       {"classes", bench.config.model.num_classes},
                       {"batch_size", arguments.batch_size},
                       {"precision", precision_name(bench.precision)},
                       {"device", describe(bench.device)},
                       {"cuda_graph", bench.config.run.cuda_graph},
                       {"threads", at::get_num_threads()},
                       {"torch", TORCH_VERSION},
                       {"images_per_second", rate},
                       {"best_images_per_second", measured.best_rate(batch)},
                       {"steps", measured.seconds.size()},
                       {"tflops", operations / 1e12},
                       {"matmul_tflops", peak / 1e12},
                       {"share_of_matmul", operations / peak},
                       {"peak_resident_gb", memory}};
  if (arguments.json) {
    fmt::print("{}\n", result.dump());
    return;
  }
  fmt::print("{} of {}, {} px, batch {}, {} classes, {}{}, on {}, torch {}\n", what,
             bench.config.model.name, bench.config.augment.image_size, arguments.batch_size,
             bench.config.model.num_classes, precision_name(bench.precision),
             bench.config.run.cuda_graph ? ", cuda_graph" : "", describe(bench.device),
             TORCH_VERSION);
  fmt::print(
      "{:.1f} images/s (median of {} steps; best {:.1f}), {:.3f} TFLOP/s, {:.0f} % of a large "
      "matrix product's {:.2f}; at most {:.2f} GB resident\n",
      rate, measured.seconds.size(), measured.best_rate(batch), operations / 1e12,
      100.0 * operations / peak, peak / 1e12, memory);
}

void bench_step(const StepBench& arguments) {
  Bench bench(arguments);
  Model& model = *bench.model;
  const auto optimizer =
      make_optimizer(bench.config.optim, make_param_groups(model.module(), bench.config.optim));
  model.module().train();
  const auto learn = [&](const Batch& batch) {
    Lesson lesson;
    torch::Tensor& loss = lesson.loss.total;
    {
      const AutocastGuard autocast(bench.device, bench.precision);
      const ModelOutput output = model.forward(batch.images);
      loss = cross_entropy(output.logits, batch.labels);
      for (const torch::Tensor& logits : output.shadow_logits) {
        loss = loss + cross_entropy(logits, batch.labels);
      }
    }
    loss.backward();
    loss = loss.detach();
    return lesson;
  };
  const bool replays = bench.config.run.cuda_graph;
  StepReplay replay(bench.device);
  const auto step = [&] {
    optimizer->zero_grad(/*set_to_none=*/!replays);
    replays ? replay.run(bench.batch, {}, learn) : learn(bench.batch);
    clip_grad_norm(optimizer->groups(), bench.config.optim.clip_grad_norm);
    optimizer->step(/*lr=*/1e-4);
  };
  report(bench, arguments, "training step", measure(bench.device, arguments.seconds, step),
         /*passes=*/3.0);
  if (arguments.profile) print_profile(step);
}

void bench_teacher(const StepBench& arguments) {
  Bench bench(arguments);
  const augment::AugmentOptions& view = bench.config.augment;
  const InputForm form{view.mean, view.std, view.image_size};
  FrozenNetwork teacher(bench.config.model.name, std::move(bench.model), form, form, bench.device);
  const auto answer = [&] {
    const AutocastGuard autocast(bench.device, bench.precision);
    teacher.forward(bench.batch.images);
  };
  std::unique_ptr<Recording> recording;
  if (bench.config.run.cuda_graph) {
    for (int i = 0; i < kWarmUp; ++i) answer();
    recording = record(bench.device, answer);
  }
  const auto forward = [&] { recording ? recording->replay() : answer(); };
  report(bench, arguments, "teacher forward", measure(bench.device, arguments.seconds, forward),
         /*passes=*/1.0);
  if (arguments.profile) print_profile(forward);
}

void add_model_bench(CLI::App& bench, const char* name, const char* help,
                     void (*run)(const StepBench&)) {
  auto arguments = std::make_shared<StepBench>();
  CLI::App* command = bench.add_subcommand(name, help);
  command->add_option("--model", arguments->model, "Model, as umbra models lists them")
      ->capture_default_str();
  command->add_option("--batch,--batch-size", arguments->batch_size, "Images in a batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32, bf16 or auto")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--image-size", arguments->image_size, "Side; default: the model's own")
      ->check(CLI::Range(1, 4096));
  command->add_option("--classes", arguments->classes, "Default: 1000, at 32 pixels 100")
      ->check(CLI::Range(2, 1 << 20));
  command->add_option("--device", arguments->device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command->add_option("--threads", arguments->threads, "CPU threads; default: all")
      ->check(CLI::Range(1, 1024));
  command->add_option("--seconds", arguments->seconds, "How long to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_overrides(*command, arguments->overrides);
  CLI::Option* json =
      command->add_flag("--json", arguments->json, "One JSON object on standard output");
  command
      ->add_flag("--profile", arguments->profile,
                 "Also where the time goes, by operation (on a CPU)")
      ->excludes(json);
  command->callback([=] { run(*arguments); });
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  add_model_bench(bench, "step",
                  "Images per second of a training step on noise: forward, cross-entropy of every "
                  "head, backward, update",
                  bench_step);
}

void add_bench_teacher(CLI::App& bench) {
  add_model_bench(bench, "teacher", "Images per second of a frozen network's forward pass",
                  bench_teacher);
}

}  // namespace umbra
