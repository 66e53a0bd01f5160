#include "train/data/inspect.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "train/data/parallel.h"
#include "train/error.h"

namespace umbra {
namespace {

struct Finding {
  std::string format;
  int width = 0, height = 0;
  std::optional<BrokenSample> broken;
};

Finding look_at(const Dataset& dataset, int64_t index, bool decode) {
  Finding found;
  try {
    const augment::LazyImage image = dataset.open(index);
    if (decode) image.pixels();
    found.format = image.file().empty() ? "pixels" : augment::read_header(image.file()).format;
    found.width = image.width();
    found.height = image.height();
  } catch (const augment::ImageError& error) {
    found.broken = broken_sample(dataset, index, error);
  } catch (const Error& error) {
    found.broken = broken_sample(dataset, index, error);
  }
  return found;
}

DataReport::Range range_of(std::vector<int> values) {
  if (values.empty()) return {};
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *middle, *high};
}

}  // namespace

DataReport inspect(const Dataset& dataset, bool decode_all, int threads,
                   const std::function<void(int64_t)>& progress) {
  std::mutex mutex;
  int64_t done = 0;
  DataReport report;
  report.class_counts.resize(dataset.num_classes());
  std::vector<int> widths, heights;
  std::map<int64_t, BrokenSample> broken;
  parallel_for(dataset.size(), threads, [&](int64_t i) {
    Finding found = look_at(dataset, i, decode_all);
    const std::lock_guard lock(mutex);
    ++report.class_counts.at(dataset.label(i));
    if (found.broken) {
      broken[i] = std::move(*found.broken);
    } else {
      ++report.formats[found.format];
      widths.push_back(found.width);
      heights.push_back(found.height);
    }
    if (progress) progress(++done);
  });
  report.width = range_of(std::move(widths));
  report.height = range_of(std::move(heights));
  for (auto& [index, sample] : broken) report.broken.push_back(std::move(sample));
  return report;
}

}  // namespace umbra
