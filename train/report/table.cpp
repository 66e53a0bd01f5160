#include "train/report/table.h"

#include "train/error.h"
#include "train/files.h"
#include "train/json_text.h"

namespace umbra {
namespace {

using Json = nlohmann::json;
using Row = std::vector<std::string>;

// Top-1 of a head at the last step, from the raw weights; shadows of several teachers are joined.
std::string top1(const Json& summary, const std::string& head) {
  std::string text;
  for (const auto& [name, score] : summary.at("last").at("raw").items()) {
    if (!score.is_object() || !name.starts_with(head)) continue;
    text += (text.empty() ? "" : " / ") + fmt::format("{:.2f}", score.at("top1").get<double>());
  }
  return text.empty() ? "-" : text;
}

std::string ema_top1(const Json& summary) {
  const Json& last = summary.at("last");
  return last.contains("ema") ? fmt::format("{:.2f}", last.at("ema").at("headline").get<double>())
                              : "-";
}

Row row_of(const Json& s) {
  return {s.at("name").get<std::string>(),
          s.at("model").get<std::string>(),
          s.value("objective", s.at("preset").get<std::string>()),
          top1(s, "class"),
          top1(s, "shadow"),
          top1(s, "mean"),
          ema_top1(s),
          fmt::format("{:.2f}", s.at("best").at("top1").get<double>()),
          fmt::format("{:.1f}", s.at("minutes").get<double>()),
          fmt::format("{:.0f}", s.at("images_per_second").get<double>())};
}

std::string setting(const Json& s) {
  return fmt::format("{}: {} training images, {} steps of {} ({:.4g} epochs), lr {}, seed {}\n",
                     s.at("name").get<std::string>(), s.at("train_images").get<int64_t>(),
                     s.at("steps").get<int64_t>(), s.at("batch_size").get<int64_t>(),
                     s.at("epochs").get<double>(), s.at("lr").get<double>(),
                     s.at("seed").get<int64_t>());
}

}  // namespace

Json read_summaries(const std::vector<std::string>& runs, std::vector<std::string>& left_out) {
  Json summaries = Json::array();
  for (const std::string& run : runs) {
    const std::filesystem::path path = std::filesystem::path(run) / "summary.json";
    if (!std::filesystem::exists(path)) {
      const bool started = std::filesystem::exists(std::filesystem::path(run) / "resolved.toml");
      left_out.push_back(fmt::format(
          "{}: no finished run there{}", run,
          started ? fmt::format(", a started one: umbra train {0}/resolved.toml --resume --out {0}",
                                run)
                  : ""));
      continue;
    }
    const Json summary = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
    try {
      static_cast<void>(row_of(summary));
      static_cast<void>(setting(summary));
    } catch (const Json::exception& error) {
      throw Error(fmt::format("{} is damaged: {}", path.string(), error.what()));
    }
    summaries.push_back(summary);
  }
  if (summaries.empty()) throw Error(fmt::format("{}", fmt::join(left_out, "\n")));
  return summaries;
}

std::string render_table(const Json& summaries) {
  std::vector<Row> rows = {{"run", "model", "distillation", "class head", "shadow head", "mean",
                            "EMA", "best", "minutes", "img/s"}};
  for (const Json& summary : summaries) rows.push_back(row_of(summary));
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].size(); ++i) {
      text += i < 3 ? fmt::format("| {:<{}} ", rows[r][i], widths[i])
                    : fmt::format("| {:>{}} ", rows[r][i], widths[i]);
    }
    text += "|\n";
    if (r > 0) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      text += fmt::format("|{:-<{}}{}", "", widths[i] + 1, i < 3 ? "-" : ":");
    }
    text += "|\n";
  }
  text +=
      "\nTop-1 (%) on the evaluation set at the last step; best: headline head at its best step.\n";
  for (const Json& summary : summaries) text += setting(summary);
  return text;
}

void write_summaries(const Json& summaries, const std::string& path) {
  write_file_synced(path, json_text(summaries, 1) + "\n");
}

}  // namespace umbra
