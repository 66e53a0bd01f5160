#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace umbra {

// The summary.json of each finished run, as an array; of each other folder a sentence in left_out.
// Throws umbra::Error if none is finished, and for a summary that is damaged.
nlohmann::json read_summaries(const std::vector<std::string>& runs,
                              std::vector<std::string>& left_out);

// A Markdown table, aligned for a terminal: top-1 of every head at the last step, best, time, rate;
// then a line with the setting of each run.
std::string render_table(const nlohmann::json& summaries);

void write_summaries(const nlohmann::json& summaries, const std::string& path);

}  // namespace umbra
