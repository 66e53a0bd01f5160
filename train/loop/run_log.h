// What a run says: lines to the terminal and log.txt, rows to metrics.jsonl, a progress bar.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace umbra {

enum class Terminal {
  kQuiet,  // nothing
  kLines,  // plain lines
  kBar,    // lines, and a progress bar on the last line
};

// kBar if standard error is a terminal that can show one, else kLines.
Terminal detect_terminal(bool quiet);

class RunLog {
 public:
  // Appends to the files in `folder`; with an empty path there are none.
  RunLog(const std::filesystem::path& folder, Terminal terminal);
  ~RunLog();

  void info(const std::string& line);

  // One JSON object on one line of metrics.jsonl.
  void row(const nlohmann::json& row);

  // A line per log interval: to the file always, to the terminal where there is no bar.
  void interval(const std::string& line);

  // Redraws the bar (at most ten times a second): `done` of `total` steps.
  void progress(const std::string& line, double done, double total);

  // Removes rows of metrics.jsonl beyond `step` (all, for 0): they are about to be made again.
  static void rewind(const std::filesystem::path& folder, int64_t step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace umbra
