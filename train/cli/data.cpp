#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/data/inspect.h"
#include "train/data/pack.h"
#include "train/data/tar_dataset.h"
#include "train/error.h"
#include "train/files.h"
#include "train/loop/run_log.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

constexpr size_t kListedClasses = 20;

struct InfoArguments {
  std::string path;
  std::string format = "auto";
  bool check = false;
  bool json = false;
};

struct PackArguments {
  std::string source, target;
  std::string format = "auto";
  std::string split = "both";
  PackOptions options;
};

int thread_count() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

// "train: 1200 of 50000" on the last line of a terminal; nothing elsewhere.
class ProgressLine {
 public:
  ProgressLine(std::string what, int64_t total)
      : what_(std::move(what)), total_(total), on_(detect_terminal(false) == Terminal::kBar) {}
  ~ProgressLine() {
    if (on_) fmt::print(stderr, "\r\033[K");
  }

  void operator()(int64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (!on_ || now - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = now;
    fmt::print(stderr, "\r{}: {} of {}\033[K", what_, done, total_);
    std::fflush(stderr);
  }

 private:
  std::string what_;
  int64_t total_;
  bool on_;
  std::chrono::steady_clock::time_point drawn_{};
};

// A part of a data set that is there, by name.
struct Part {
  std::string name;
  std::shared_ptr<const Dataset> set;
  DataReport report;
};

std::vector<Part> parts_of(const DataSplits& splits) {
  std::vector<Part> parts = {{"train", splits.train, {}}};
  if (splits.test) parts.push_back({"test", splits.test, {}});
  return parts;
}

nlohmann::json to_json(const Part& part) {
  const auto range = [](const DataReport::Range& r) {
    return nlohmann::json{{"min", r.min}, {"median", r.median}, {"max", r.max}};
  };
  nlohmann::json classes = nlohmann::json::array(), broken = nlohmann::json::array();
  for (size_t c = 0; c < part.report.class_counts.size(); ++c) {
    classes.push_back(
        {{"name", part.set->class_names()[c]}, {"images", part.report.class_counts[c]}});
  }
  for (const auto& [index, name, reason] : part.report.broken) {
    broken.push_back({{"name", name}, {"reason", reason}});
  }
  return {{"part", part.name},
          {"images", part.set->size()},
          {"channels", part.set->channels()},
          {"formats", part.report.formats},
          {"width", range(part.report.width)},
          {"height", range(part.report.height)},
          {"classes", classes},
          {"broken", broken}};
}

void print_part(const Part& part, bool decoded) {
  const auto range = [](const DataReport::Range& r) {
    return r.min == r.max ? std::to_string(r.min)
                          : fmt::format("{} to {} (median {})", r.min, r.max, r.median);
  };
  const auto& [counts, formats, width, height, broken] = part.report;
  std::vector<std::string> kinds;
  for (const auto& [format, count] : formats) kinds.push_back(fmt::format("{} {}", count, format));
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  fmt::print("{}: {} images, {} {} of {} to {}\n", part.name, part.set->size(), counts.size(),
             counts.size() == 1 ? "class" : "classes", *least, *most);
  fmt::print("  {} channels; {}; width {}, height {}\n", part.set->channels(),
             fmt::join(kinds, ", "), range(width), range(height));
  for (const auto& [index, name, reason] : broken) fmt::print("  broken: {}: {}\n", name, reason);
  if (decoded && broken.empty()) fmt::print("  every image was decoded\n");
}

void print_classes(const std::vector<Part>& parts) {
  const std::vector<std::string>& names = parts[0].set->class_names();
  size_t width = 5;
  for (const std::string& name : names) width = std::max(width, name.size());
  fmt::print("\n{:<{}}", "class", width);
  for (const Part& part : parts) fmt::print(" {:>9}", part.name);
  fmt::print("\n");
  for (size_t c = 0; c < std::min(names.size(), kListedClasses); ++c) {
    fmt::print("{:<{}}", names[c], width);
    for (const Part& part : parts) fmt::print(" {:>9}", part.report.class_counts[c]);
    fmt::print("\n");
  }
  if (names.size() > kListedClasses) {
    fmt::print("and {} more; --json lists all\n", names.size() - kListedClasses);
  }
}

void info(const InfoArguments& arguments) {
  std::vector<Part> parts = parts_of(open_dataset(arguments.format, arguments.path));
  size_t broken = 0;
  for (Part& part : parts) {
    ProgressLine line(part.name, part.set->size());
    part.report =
        inspect(*part.set, arguments.check, thread_count(), [&](int64_t done) { line(done); });
    broken += part.report.broken.size();
  }
  if (arguments.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Part& part : parts) rows.push_back(to_json(part));
    print_json(rows);
  } else {
    for (const Part& part : parts) print_part(part, arguments.check);
    print_classes(parts);
  }
  if (broken > 0)
    throw Error(
        fmt::format("{}: {} broken image{}", arguments.path, broken, broken == 1 ? "" : "s"));
}

// Which parts to pack, and where to.
std::vector<std::pair<Part, fs::path>> targets(const PackArguments& arguments) {
  const fs::path target = arguments.target;
  if (target.extension() != ".tar") {
    throw ConfigError(fmt::format("{}: wanted a name that ends in .tar", target.string()));
  }
  std::vector<std::pair<Part, fs::path>> chosen;
  for (const Part& part : parts_of(open_dataset(arguments.format, arguments.source))) {
    const bool both = arguments.split == "both";
    if (!both && part.name != arguments.split) continue;
    const fs::path path =
        both ? target.parent_path() / fmt::format("{}-{}.tar", target.stem().string(), part.name)
             : target;
    refuse_existing(path.string());
    if (both && tar_parts(path).size() != 1) {
      throw ConfigError(fmt::format(
          "{}: the name of an archive tells its part, and this one has more words for parts than "
          "{}: choose another TARGET",
          path.string(), part.name));
    }
    chosen.emplace_back(part, path);
  }
  if (chosen.empty()) {
    throw ConfigError(fmt::format("--split test: {} has no test part", arguments.source));
  }
  return chosen;
}

void pack_parts(const PackArguments& arguments) {
  PackOptions options = arguments.options;
  options.threads = thread_count();
  for (const auto& [part, path] : targets(arguments)) {
    if (path.has_parent_path()) make_folder(path.parent_path());
    PackResult result;
    {
      ProgressLine line(path.string(), part.set->size());
      result = pack(*part.set, path, options, [&](int64_t done) { line(done); });
    }
    fmt::print("{}: {} images, {:.1f} MB\n", path.string(), result.images,
               static_cast<double>(fs::file_size(path)) / 1e6);
    const std::vector<std::string> folders = folder_names(part.set->class_names());
    if (folders != part.set->class_names()) {
      fmt::print("  class folders are \"{}\" to \"{}\"\n", folders.front(), folders.back());
    }
    if (part.set->channels() == 1) fmt::print("  read from the archive the images are RGB\n");
    if (!result.broken.empty()) fmt::print("  left out, broken: {}\n", result.broken.size());
    for (const auto& [index, name, reason] : result.broken) fmt::print("  {}: {}\n", name, reason);
  }
  if (arguments.split == "both") {
    const fs::path folder = fs::absolute(arguments.target).parent_path();
    fmt::print("to train from them, let data.path be their folder: {}\n", folder.string());
  }
}

void add_format(CLI::App& command, std::string& format) {
  command.add_option("--format", format, "Format of the data set")
      ->check(CLI::IsMember(data_formats()))
      ->capture_default_str();
}

void add_info_command(CLI::App& app) {
  auto arguments = std::make_shared<InfoArguments>();
  CLI::App* command = app.add_subcommand(
      "info", "Say what a data set holds: classes, formats, image sizes, broken images");
  command->add_option("path", arguments->path, "Folder or tar file of the data set")->required();
  add_format(*command, arguments->format);
  command->add_flag("--check", arguments->check,
                    "Decode every image, instead of reading its header");
  command->add_flag("--json", arguments->json, "JSON on standard output");
  command->callback([=] { info(*arguments); });
}

void add_pack_command(CLI::App& app) {
  auto arguments = std::make_shared<PackArguments>();
  PackOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "pack", "Write a data set as tar files of class folders, which umbra reads in place");
  command->add_option("source", arguments->source, "Folder or tar file of the data set")
      ->required();
  command
      ->add_option("target", arguments->target, "NAME.tar; both parts: NAME-train.tar, -test.tar")
      ->required();
  add_format(*command, arguments->format);
  command->add_option("--split", arguments->split, "train, test or both")
      ->check(CLI::IsMember({"train", "test", "both"}))
      ->capture_default_str();
  command
      ->add_option("--resize", options.resize,
                   "Shrink images to this length of the shorter side, pixels; default: copy files")
      ->check(CLI::Range(1, 1 << 15));
  command->add_option("--quality", options.quality, "JPEG quality of resized images")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_flag("--skip-broken", options.skip_broken,
                    "Leave out broken images, and list them, instead of stopping");
  command->callback([=] { pack_parts(*arguments); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Look at a data set, or pack it");
  command->require_subcommand(1);
  add_info_command(*command);
  add_pack_command(*command);
}

}  // namespace umbra
