#include <cstdio>
#include <limits>

#include <malloc.h>

#include <fmt/ranges.h>

#include <torch/version.h>
#include <opencv2/core/version.hpp>

#include "kernels/support.h"
#include "train/cli/commands.h"
#include "train/error.h"
#include "train/loop/precision.h"
#include "train/loop/stop_signal.h"

namespace umbra {
extern const char* const kVersion;
extern const char* const kRevision;

namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2 };

std::string version_text() {
  return fmt::format("umbra {} ({})\ntorch {}\nOpenCV {}\ndevice {}", kVersion, kRevision,
                     TORCH_VERSION, CV_VERSION, describe(choose_device("auto")));
}

// Of a command line that cannot be parsed: what is wrong with it, and where to read on.
std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  std::string command = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    command += " " + app->get_name();
  }
  const std::vector<std::string> left_over = app->remaining();
  std::vector<std::string> wanted;
  for (const CLI::App* sub : app->get_subcommands([](const CLI::App*) { return true; })) {
    wanted.push_back(sub->get_name());
  }
  std::string what = error.what();
  if (!wanted.empty()) {
    what =
        fmt::format("got {}, wanted one of {}",
                    left_over.empty() ? "no command" : left_over.front(), fmt::join(wanted, ", "));
  } else if (!left_over.empty()) {
    what = fmt::format("got {}, which it does not know", fmt::join(left_over, " "));
  }
  return fmt::format("{0}: {1}. {0} --help tells more\n", command, what);
}

int run(int argc, char** argv) {
  try {
    kernels::available();
  } catch (const std::runtime_error& error) {  // of UMBRA_MAX_CPU_ISA
    throw ConfigError(error.what());
  }
  CLI::App app("Trains vision transformers by distillation from CNN teachers.", "umbra");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text, "Versions of umbra, torch, OpenCV; device");
  app.failure_message(usage_error);
  app.footer("umbra COMMAND --help tells more. Start with: umbra train configs/demo/teacher.toml");
  add_train_command(app);
  add_eval_command(app);
  add_predict_command(app);
  add_compare_command(app);
  add_probe_command(app);
  add_cache_command(app);
  add_config_command(app);
  add_report_command(app);
  add_preview_command(app);
  add_data_command(app);
  add_bench_command(app);
  add_models_command(app);
  add_inspect_command(app);
  add_export_command(app);
  add_forward_command(app);
  int code = kDone;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) code = kUsage;  // 0: --help and --version
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw Error("cannot write to standard output");
  }
  return code;
}

// Each step frees and takes the same large tensors again. Kept in the process, they need not be
// mapped and cleared page by page every time.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

int fail(const char* what, int code) {
  fmt::print(stderr, "umbra: {}\n", what);
  return code;
}

}  // namespace
}  // namespace umbra

int main(int argc, char** argv) {
  umbra::keep_freed_memory();
  try {
    return umbra::run(argc, argv);
  } catch (const umbra::Interrupted& stop) {
    return 128 + stop.signal;
  } catch (const umbra::ConfigError& error) {
    return umbra::fail(error.what(), umbra::kUsage);
  } catch (const umbra::Error& error) {
    return umbra::fail(error.what(), umbra::kFailed);
  } catch (const c10::Error& error) {
    return umbra::fail(error.what_without_backtrace(), umbra::kFailed);
  } catch (const std::exception& error) {
    return umbra::fail(error.what(), umbra::kFailed);
  }
}
