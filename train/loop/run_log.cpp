#include "train/loop/run_log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <nlohmann/json.hpp>

#include "train/error.h"
#include "train/files.h"
#include "train/json_text.h"

namespace umbra {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);

bool no_colour() {
  const char* value = std::getenv("NO_COLOR");
  return value && *value;
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

struct RunLog::State {
  spdlog::logger file{"file"};
  spdlog::logger screen{"screen"};
  std::ofstream metrics;
  Terminal terminal = Terminal::kLines;
  bool bar_drawn = false;
  std::chrono::steady_clock::time_point last_draw{};

  void clear_bar() {
    if (bar_drawn) std::fputs("\r\033[K", stderr);
    bar_drawn = false;
  }

  void say(spdlog::level::level_enum level, const std::string& line, bool on_screen) {
    file.log(level, line);
    if (!on_screen) return;
    clear_bar();
    screen.log(level, line);
  }
};

Terminal detect_terminal(bool quiet) {
  if (quiet) return Terminal::kQuiet;
  const char* term = std::getenv("TERM");
  const bool dumb = !term || std::string(term) == "dumb";
  return isatty(STDERR_FILENO) && !dumb ? Terminal::kBar : Terminal::kLines;
}

RunLog::RunLog(const std::filesystem::path& folder, Terminal terminal)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.terminal = terminal;
  if (!folder.empty()) {
    s.file.sinks().push_back(
        std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string()));
    s.file.set_pattern("%Y-%m-%d %H:%M:%S %L %v");
    s.file.flush_on(spdlog::level::info);
    s.metrics.open(folder / "metrics.jsonl", std::ios::app);
    if (!s.metrics) throw Error(fmt::format("cannot write {}/metrics.jsonl", folder.string()));
  }
  const auto mode = no_colour() ? spdlog::color_mode::never : spdlog::color_mode::automatic;
  s.screen.sinks().push_back(std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode));
  s.screen.set_pattern("%^%v%$");
}

RunLog::~RunLog() { state_->clear_bar(); }

void RunLog::info(const std::string& line) {
  state_->say(spdlog::level::info, line, state_->terminal != Terminal::kQuiet);
}

void RunLog::row(const nlohmann::json& row) {
  std::ofstream& metrics = state_->metrics;
  if (!metrics.is_open()) return;
  metrics << json_text(row) << '\n';
  metrics.flush();
  if (!metrics) throw Error("cannot write metrics.jsonl: is the disk full?");
}

void RunLog::interval(const std::string& line) {
  state_->say(spdlog::level::info, line, state_->terminal == Terminal::kLines);
}

void RunLog::progress(const std::string& line, double done, double total) {
  State& s = *state_;
  const auto now = std::chrono::steady_clock::now();
  if (s.terminal != Terminal::kBar || now - s.last_draw < kRedraw) return;
  s.last_draw = now;
  constexpr int kBar = 24;
  const int filled = std::clamp(static_cast<int>(kBar * done / total), 0, kBar);
  std::string text = fmt::format("[{:#<{}}{:.<{}}] {}", "", filled, "", kBar - filled, line);
  text.resize(
      std::min<size_t>(text.size(), static_cast<size_t>(std::max(10, terminal_width() - 1))));
  std::fputs(("\r\033[K" + text).c_str(), stderr);
  std::fflush(stderr);
  s.bar_drawn = true;
}

void RunLog::rewind(const std::filesystem::path& folder, int64_t step) {
  const std::filesystem::path path = folder / "metrics.jsonl";
  std::ifstream file(path);
  if (!file) return;
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (step > 0 && row.is_object() && row.value("step", step + 1) <= step) kept += line + "\n";
  }
  file.close();
  write_file_synced(path, kept);
}

}  // namespace umbra
