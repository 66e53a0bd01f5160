#include <atomic>
#include <chrono>
#include <thread>

#include <torch/version.h>
#include <nlohmann/json.hpp>

#include "train/cli/bench.h"
#include "train/cli/commands.h"
#include "train/config/load.h"
#include "train/data/file_dataset.h"
#include "train/data/parallel.h"
#include "train/error.h"
#include "train/files.h"
#include "train/loop/prepare.h"
#include "train/machine.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

struct InputBench {
  std::string images, recipe = "deit", decode = "exact";
  std::vector<std::string> overrides;
  int64_t image_size = 224, threads = 1, batch_size = 64, samples = 0;
  double seconds = 10.0;
  bool decoded = false, json = false;
};

// Image files held in memory, so that no disk is measured.
class FilesInMemory : public FileDataset {
 public:
  FilesInMemory(std::vector<std::string> names, std::vector<std::vector<uint8_t>> files,
                const ReadOptions& read)
      : FileDataset({"image"}, std::vector<int64_t>(files.size(), 0), read),
        names_(std::move(names)),
        files_(std::move(files)) {}

  std::string name(int64_t index) const override { return names_.at(index); }

 private:
  std::vector<uint8_t> read(int64_t index) const override { return files_.at(index); }

  std::vector<std::string> names_;
  std::vector<std::vector<uint8_t>> files_;
};

std::shared_ptr<const Dataset> open_pictures(const InputBench& bench) {
  if (!fs::is_directory(bench.images)) {
    throw ConfigError(fmt::format("--images {}: no such folder", bench.images));
  }
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(bench.images)) {
    if (entry.is_regular_file() && augment::is_image_name(entry.path().filename())) {
      names.push_back(entry.path().string());
    }
  }
  if (names.empty()) throw ConfigError(fmt::format("--images {}: no pictures in it", bench.images));
  std::sort(names.begin(), names.end());
  std::vector<std::vector<uint8_t>> files;
  for (const std::string& name : names) {
    const std::string bytes = read_file(name);
    files.emplace_back(bytes.begin(), bytes.end());
  }
  ReadOptions read;
  read.decode.fast = bench.decode == "fast";
  return std::make_shared<FilesInMemory>(std::move(names), std::move(files), read);
}

// Images per second that `threads` threads decode as a whole.
double decode_rate(const Dataset& set, int64_t threads, double seconds) {
  std::atomic<int64_t> done = 0;
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  parallel_for(threads, static_cast<int>(threads), [&](int64_t thread) {
    for (int64_t i = thread; elapsed() < seconds; i += threads) {
      set.image(i % set.size());
      ++done;
    }
  });
  return static_cast<double>(done) / elapsed();
}

// Training views on the workers, normalised and erased batches on this thread: what a training
// step would be given. Mixing belongs to the step and is not measured.
Json measure(const InputBench& bench, const LoadedConfig& loaded,
             const std::shared_ptr<const Dataset>& set) {
  LoaderOptions options;
  options.batch_size = std::min(bench.batch_size, set->size());
  options.drop_last = false;
  options.workers = bench.threads == 1 ? 0 : bench.threads;
  options.prefetch = 2 * bench.threads;
  Loader loader(set, loaded.config.augment, options);
  const Preparation prepare(loaded.config.augment, /*num_classes=*/1, /*seed=*/0, torch::kCPU);
  loader.seek(0, 0);

  RawBatch raw;
  const auto step = [&](int64_t number) {
    loader.next(raw);
    prepare(raw, number, 0, 0.0);
    return raw.samples();
  };
  int64_t warm = 0;
  for (int64_t i = 0; warm < set->size() && warm < 10000; ++i) warm += step(i);
  const double before = resident_gigabytes();
  int64_t images = 0;
  const auto start = Clock::now();
  double elapsed = 0.0;
  const auto going = [&] {
    return bench.samples > 0 ? images < bench.samples : elapsed < bench.seconds;
  };
  for (int64_t i = 0; going(); ++i) {
    images += step(i);
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return {{"images_per_second", static_cast<double>(images) / elapsed},
          {"images", images},
          {"batch_size", options.batch_size},
          {"seconds", elapsed},
          {"rss_mb_before", 1e3 * before},
          {"rss_mb_after", 1e3 * resident_gigabytes()}};
}

void bench_input(const InputBench& bench) {
  torch::set_num_threads(1);
  std::vector<std::string> overrides = {"augment.mixup_alpha=0.0", "augment.cutmix_alpha=0.0"};
  overrides.insert(overrides.end(), bench.overrides.begin(), bench.overrides.end());
  const LoadedConfig loaded = parse_config(
      fmt::format("[augment]\npreset = \"{}\"\nimage_size = {}\n", bench.recipe, bench.image_size),
      "bench", overrides);
  std::shared_ptr<const Dataset> set = open_pictures(bench);
  const augment::AugmentOptions& recipe = loaded.config.augment;  // --set may have changed it
  Json result = {{"recipe", recipe.preset},  {"image_size", recipe.image_size},
                 {"threads", bench.threads}, {"decode", bench.decode},
                 {"pictures", set->size()},  {"in_memory_decoded", bench.decoded},
                 {"processor", cpu_name()},  {"torch", TORCH_VERSION}};
  const double decode = bench.decoded ? 0.0 : decode_rate(*set, bench.threads, bench.seconds / 4);
  if (bench.decoded) set = keep_in_memory(set, int64_t{1} << 40);
  result.update(measure(bench, loaded, set));
  if (decode > 0.0) {
    result["decode_images_per_second"] = decode;
    result["share_of_decode"] = result["images_per_second"].get<double>() / decode;
  }
  if (bench.json) {
    fmt::print("{}\n", result.dump());
    return;
  }
  fmt::print("{} views, {} px, {} thread(s), {} decode, {} pictures, {}\n", recipe.preset,
             recipe.image_size, bench.threads, bench.decode, set->size(), cpu_name());
  fmt::print("{:.1f} images/s over {:.1f} s", result["images_per_second"].get<double>(),
             result["seconds"].get<double>());
  if (decode > 0.0) {
    fmt::print(", {:.2f} of the decoder's {:.1f}", result["share_of_decode"].get<double>(), decode);
  }
  fmt::print("; resident memory {:.0f} -> {:.0f} MB\n", result["rss_mb_before"].get<double>(),
             result["rss_mb_after"].get<double>());
}

}  // namespace

void add_bench_input(CLI::App& bench) {
  auto arguments = std::make_shared<InputBench>();
  CLI::App* input = bench.add_subcommand(
      "input", "Images per second of the input pipeline: decoding to normalised batches");
  input->add_option("--images", arguments->images, "Folder of pictures, at any depth")->required();
  input->add_option("--recipe", arguments->recipe, "Preset of [augment]")
      ->check(CLI::IsMember(augment::augment_presets()))
      ->capture_default_str();
  input->add_option("--image-size", arguments->image_size, "Side of the views")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  input
      ->add_option("--threads", arguments->threads,
                   "1: everything on one thread; more: that many workers beside it")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  input->add_option("--decode", arguments->decode, "exact or fast")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  input->add_flag("--decoded", arguments->decoded, "Pictures are decoded before the clock starts");
  input->add_option("--seconds", arguments->seconds, "How long to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  input->add_option("--samples", arguments->samples, "How many samples to measure, instead")
      ->check(CLI::PositiveNumber);
  input->add_option("--batch-size", arguments->batch_size, "Samples in a batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add_overrides(*input, arguments->overrides);
  input->add_flag("--json", arguments->json, "One JSON object on standard output");
  input->callback([=] { bench_input(*arguments); });
}

}  // namespace umbra
