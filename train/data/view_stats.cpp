#include "train/data/view_stats.h"

#include <chrono>
#include <utility>

#include <opencv2/core.hpp>

#include "augment/pipeline.h"
#include "train/data/loader.h"
#include "train/error.h"

namespace umbra {
namespace {

using Clock = std::chrono::steady_clock;

bool is_blank(const cv::Mat& image) {
  const cv::Mat samples = image.isContinuous() ? image : image.clone();
  for (int c = 0; c < samples.channels(); ++c) {
    const uint8_t first = samples.data[c];
    const size_t step = samples.channels(), bytes = samples.total() * step;
    for (size_t i = c; i < bytes; i += step) {
      if (samples.data[i] != first) return false;
    }
  }
  return true;
}

void add_view(ViewStats& stats, const augment::Pipeline& pipeline, const augment::LazyImage& image,
              const augment::ViewDraw& draw) {
  Clock::time_point last = Clock::now();
  bool source_blank = false, first = true;
  const cv::Mat view =
      pipeline.train_view(image, draw, [&](const std::string& name, const cv::Mat& changed) {
        const double seconds = std::chrono::duration<double>(Clock::now() - last).count();
        ViewStats::Operation& operation = stats.operations[name];
        ++operation.views;
        operation.seconds += seconds;
        stats.seconds += seconds;
        if (std::exchange(first, false)) source_blank = is_blank(changed);
        last = Clock::now();
      });
  ++stats.views;
  if (!source_blank && is_blank(view)) ++stats.blank;
}

}  // namespace

ViewStats view_stats(const Dataset& dataset, const augment::AugmentOptions& options, uint64_t seed,
                     int64_t samples) {
  const augment::Pipeline pipeline(options);
  const std::vector<int64_t> order = epoch_order(dataset.size(), seed, 0);
  ViewStats stats;
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t index = order[i % dataset.size()];
    const auto repeat = static_cast<uint32_t>(i / dataset.size());
    try {
      const augment::LazyImage image = dataset.open(index);
      const auto draws = pipeline.draw({seed, static_cast<uint64_t>(index), 0, repeat},
                                       image.width(), image.height());
      for (const auto& draw : draws) add_view(stats, pipeline, image, draw);
    } catch (const augment::ImageError&) {
      ++stats.broken;
    }
  }
  if (stats.views == 0) {
    throw Error(
        fmt::format("all of {} samples are broken: see umbra data info PATH --check", samples));
  }
  return stats;
}

}  // namespace umbra
