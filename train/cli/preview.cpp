#include <fstream>

#include <opencv2/imgproc.hpp>

#include "augment/geometry.h"
#include "augment/pipeline.h"
#include "train/cli/commands.h"
#include "train/data/view_stats.h"
#include "train/files.h"
#include "train/loop/parts.h"
#include "train/loop/prepare.h"

namespace umbra {
namespace {

struct PreviewArguments {
  std::string config, out = "preview.png";
  std::vector<std::string> overrides;
  int64_t count = 24, columns = 6, epoch = 0;
  bool stats = false;
  int64_t samples = 2000;
  std::string op, image;
  std::vector<double> levels;
};

// Pictures in rows, each with lines of text under it.
class ContactSheet {
 public:
  ContactSheet(int64_t columns, int tile) : columns_(static_cast<int>(columns)), tile_(tile) {}

  void add(const cv::Mat& picture, std::vector<std::string> lines) {
    pictures_.push_back(scaled(picture));
    lines_.push_back(std::move(lines));
  }

  cv::Mat draw() const {
    const int count = static_cast<int>(pictures_.size());
    const int columns = std::min(columns_, count), rows = (count + columns - 1) / columns;
    size_t most = 0;
    for (const auto& lines : lines_) most = std::max(most, lines.size());
    const int cell_w = tile_ + kGap, cell_h = tile_ + kGap + kLine * static_cast<int>(most);
    cv::Mat sheet(rows * cell_h + kGap, columns * cell_w + kGap, CV_8UC3, cv::Scalar::all(255));
    for (int i = 0; i < count; ++i) {
      const int x = kGap + i % columns * cell_w, y = kGap + i / columns * cell_h;
      const cv::Mat& picture = pictures_[i];
      picture.copyTo(sheet(cv::Rect(x, y, picture.cols, picture.rows)));
      for (size_t line = 0; line < lines_[i].size(); ++line) {
        const cv::Point at(x, y + tile_ + kLine * static_cast<int>(line + 1) - 3);
        cv::putText(sheet, fitting(lines_[i][line]), at, kFont, kScale, cv::Scalar::all(40), 1,
                    cv::LINE_AA);
      }
    }
    return sheet;
  }

 private:
  static constexpr int kGap = 10, kLine = 14, kFont = cv::FONT_HERSHEY_SIMPLEX;
  static constexpr double kScale = 0.38;

  // Whole pixels become whole squares, so that a small image is shown as it is.
  cv::Mat scaled(const cv::Mat& picture) const {
    cv::Mat rgb = picture, result;
    if (picture.channels() == 1) cv::cvtColor(picture, rgb, cv::COLOR_GRAY2RGB);
    const double factor = static_cast<double>(tile_) / std::max(rgb.cols, rgb.rows);
    cv::resize(rgb, result, {}, factor, factor, factor > 1 ? cv::INTER_NEAREST : cv::INTER_AREA);
    return result;
  }

  std::string fitting(std::string text) const {
    const auto width = [](const std::string& line) {
      return cv::getTextSize(line, kFont, kScale, 1, nullptr).width;
    };
    if (width(text) <= tile_) return text;
    while (!text.empty() && width(text + "..") > tile_) text.pop_back();
    return text + "..";
  }

  int columns_, tile_;
  std::vector<cv::Mat> pictures_;
  std::vector<std::vector<std::string>> lines_;
};

constexpr int kTile = 200;

void save(const ContactSheet& sheet, const std::string& path) {
  const std::vector<uint8_t> png = augment::encode_png(sheet.draw());
  write_file_synced(path, std::string(png.begin(), png.end()));
  fmt::print("{}\n", path);
}

// "CutMix: 36% of no. 12 (cat)", the partner's share.
std::string mix_text(const augment::GroupedMixDraw& draws, int64_t row, const RawBatch& raw,
                     const std::vector<std::string>& classes) {
  const auto groups = static_cast<int64_t>(draws.size());
  const augment::MixDraw& draw = draws[row % groups];
  const augment::Mix& mix = draw.size() > 1 ? draw[row / groups] : draw[0];
  if (mix.lambda == 1.0) return "";
  const int64_t partner = augment::mix_partner(row, raw.rows(), groups);
  return fmt::format("{}: {:.0f}% of no. {} ({})", mix.cutmix ? "CutMix" : "mixup",
                     100.0 * (1.0 - mix.lambda), partner,
                     classes[raw.labels[partner].item<int64_t>()]);
}

// The first rows of an epoch's first batch (its first part, with train.accum_steps), as the
// networks get them.
void show_views(const PreviewArguments& arguments) {
  LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const Config& config = loaded.config;
  const Sets sets = open_sets(config, loaded.sources);
  check_against_data(loaded.config, loaded.sources, sets.train->num_classes(),
                     sets.train->channels());
  const Dataset& set = *sets.train;
  const auto seed = config.data_seed();
  LoaderOptions options = loader_options(config, torch::kCPU, /*train=*/true);
  options.batch_size = std::min(options.batch_size, set.size());
  Loader loader(sets.train, config.augment, options);
  loader.seek(arguments.epoch, 0);
  RawBatch raw;
  loader.next(raw);
  raw = raw.slice(0, std::max<int64_t>(1, raw.samples() / config.train.accum_steps));

  const int64_t step = arguments.epoch * step_math(config, set.size()).steps_per_epoch;
  const auto epoch = static_cast<double>(arguments.epoch);
  const Preparation prepare(config.augment, set.num_classes(), seed, torch::kCPU);
  const Batch batch = prepare(raw, step, 0, epoch);
  const torch::Tensor shown = prepare.normalize().undo(batch.images).contiguous();  // [B, H, W, C]
  const augment::GroupedMixDraw mix = prepare.draw_mix(batch.images.sizes(), step, 0, epoch);

  ContactSheet sheet(arguments.columns, kTile);
  const int side = static_cast<int>(config.augment.image_size);
  for (int64_t row = 0; row < std::min(arguments.count, raw.rows()); ++row) {
    const auto index = raw.indices[row].item<int64_t>();
    std::vector<std::string> lines = {
        fmt::format("{}: {}", row, set.class_names()[set.label(index)])};
    for (std::string& text : raw.draws[row].texts()) lines.push_back(std::move(text));
    if (const std::string text = mix_text(mix, row, raw, set.class_names()); !text.empty()) {
      lines.push_back(text);
    }
    sheet.add(cv::Mat(side, side, CV_8UC(static_cast<int>(shown.size(3))), shown[row].data_ptr()),
              lines);
  }
  save(sheet, arguments.out);
  if (arguments.count > raw.rows()) {
    fmt::print("{} pictures instead of {}: the batch holds no more\n", raw.rows(), arguments.count);
  }
}

void show_stats(const PreviewArguments& arguments) {
  LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const Config& config = loaded.config;
  const Sets sets = open_sets(config, loaded.sources);
  check_against_data(loaded.config, loaded.sources, sets.train->num_classes(),
                     sets.train->channels());
  const ViewStats stats =
      view_stats(*sets.train, config.augment, config.data_seed(), arguments.samples);
  if (stats.broken > 0) fmt::print("{} broken samples passed over\n", stats.broken);
  fmt::print("{} views of {} samples, {:.3f} ms each on one thread\n", stats.views,
             arguments.samples - stats.broken,
             1e3 * stats.seconds / static_cast<double>(stats.views));
  fmt::print("{:<24} {:>8} {:>8} {:>10} {:>8}\n", "operation", "times", "share", "us / time",
             "of all time");
  std::vector<std::pair<std::string, ViewStats::Operation>> rows(stats.operations.begin(),
                                                                 stats.operations.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  for (const auto& [name, operation] : rows) {
    const auto times = static_cast<double>(operation.views);
    fmt::print("{:<24} {:>8} {:>7.2f}% {:>10.1f} {:>7.1f}%\n", name, operation.views,
               100.0 * times / static_cast<double>(stats.views), 1e6 * operation.seconds / times,
               100.0 * operation.seconds / stats.seconds);
  }
  fmt::print("blank views, of one colour all over: {} of {} ({:.1f}%){}\n", stats.blank,
             stats.views,
             100.0 * static_cast<double>(stats.blank) / static_cast<double>(stats.views),
             2 * stats.blank > stats.views ? ": training would refuse this" : "");
}

// One operation over its levels, on a picture of the user's.
void show_op(const PreviewArguments& arguments) {
  const std::vector<uint8_t> bytes = read_bytes(arguments.image);
  std::vector<double> levels = arguments.levels;
  if (levels.empty()) levels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  try {
    const cv::Mat picture = augment::resize_and_center_crop(augment::decode_image(bytes), kTile,
                                                            1.0, augment::Interpolation::kBicubic);
    ContactSheet sheet(arguments.columns, kTile);
    sheet.add(picture, {"the image"});
    for (const double level : levels) {
      const augment::DrawnOp op =
          augment::op_at_level(arguments.op, level, augment::Interpolation::kBicubic);
      sheet.add(op.apply(picture, cv::Scalar(124, 116, 104)),
                {fmt::format("level {}", level), op.text()});
    }
    save(sheet, arguments.out);
  } catch (const std::invalid_argument& error) {
    throw ConfigError(error.what());
  } catch (const augment::ImageError& error) {
    throw Error(fmt::format("{}: {}", arguments.image, error.what()));
  }
}

void preview(PreviewArguments arguments) {
  if (!arguments.op.empty()) {
    if (arguments.image.empty()) std::swap(arguments.image, arguments.config);
    if (arguments.image.empty()) throw ConfigError("--op needs an IMAGE to show it on");
    show_op(arguments);
    return;
  }
  if (arguments.config.empty()) throw ConfigError("give a CONFIG.toml, or --op NAME IMAGE");
  arguments.stats ? show_stats(arguments) : show_views(arguments);
}

}  // namespace

void add_preview_command(CLI::App& app) {
  auto arguments = std::make_shared<PreviewArguments>();
  CLI::App* command =
      app.add_subcommand("preview",
                         "Show the images as the network will see them, and what was "
                         "done to them");
  command->add_option("config", arguments->config, "Config file (.toml); with --op the image");
  add_overrides(*command, arguments->overrides);
  command->add_option("--out", arguments->out, "Contact sheet to write (PNG)")
      ->capture_default_str();
  command->add_option("--count", arguments->count, "Pictures on the sheet")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--columns", arguments->columns, "Pictures in a row")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--epoch", arguments->epoch, "Epoch whose first batch is shown")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--op", arguments->op,
                      "Show one operation (for example Rotate) over its levels, on IMAGE");
  command->add_option("--level", arguments->levels, "Levels for --op; default: 0 to 10")
      ->check(CLI::Range(0.0, 10.0));
  command->add_flag("--stats", arguments->stats,
                    "Print how often each operation is drawn, and its share of the time");
  command->add_option("--samples", arguments->samples, "Samples for --stats")
      ->check(CLI::Range(1, 100000000))
      ->capture_default_str();
  command->callback([=] { preview(*arguments); });
}

}  // namespace umbra
