#include "train/cli/commands.h"
#include "train/report/table.h"

namespace umbra {

void add_report_command(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> runs;
    std::string json;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("report", "Compare finished runs in a table");
  command->add_option("runs", arguments->runs, "Run folders")->required();
  command->add_option("--json", arguments->json, "Write the rows to this file, too");
  command->callback([=] {
    std::vector<std::string> left_out;
    const nlohmann::json rows = read_summaries(arguments->runs, left_out);
    fmt::print("{}", render_table(rows));
    for (const std::string& sentence : left_out) fmt::print(stderr, "left out: {}\n", sentence);
    if (!arguments->json.empty()) write_summaries(rows, arguments->json);
  });
}

}  // namespace umbra
