#include "train/report/heat_map.h"

#include <opencv2/imgproc.hpp>

#include "augment/image.h"

namespace umbra {
namespace {

constexpr int kSide = 400, kGap = 20, kText = 22, kScaleWidth = 16, kScaleText = 60;
constexpr int kMostNames = 25, kNameWidth = 160;
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kTextScale = 0.45;

// [H, W] of 0..1 as colours, RGB.
cv::Mat colored(const cv::Mat& unit) {
  cv::Mat bytes, bgr, rgb;
  unit.convertTo(bytes, CV_8U, 255.0);
  cv::applyColorMap(bytes, bgr, cv::COLORMAP_VIRIDIS);
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return rgb;
}

cv::Mat picture_of(const torch::Tensor& values, double max) {
  const torch::Tensor unit = (values / std::max(max, 1e-12)).clamp(0, 1).to(torch::kFloat64);
  const torch::Tensor rows = unit.cpu().contiguous();
  const cv::Mat small(static_cast<int>(rows.size(0)), static_cast<int>(rows.size(1)), CV_64F,
                      rows.data_ptr());
  cv::Mat large;
  cv::resize(colored(small), large, {kSide, kSide}, 0, 0, cv::INTER_NEAREST);
  return large;
}

void write(cv::Mat& sheet, const std::string& text, int x, int y) {
  cv::putText(sheet, text, {x, y}, kFont, kTextScale, cv::Scalar::all(40), 1, cv::LINE_AA);
}

int width_of(const std::string& text) {
  int baseline = 0;
  return cv::getTextSize(text, kFont, kTextScale, 1, &baseline).width;
}

// As much of the text's end as fits into a width.
std::string clipped(const std::string& text, int width) {
  std::string end = text;
  while (!end.empty() && width_of("..." + end) > width) end.erase(0, 1);
  return width_of(text) <= width ? text : "..." + end;
}

// One name per row of a map, right-aligned at x.
void write_names(cv::Mat& sheet, const std::vector<std::string>& names, int x, int y) {
  const auto rows = static_cast<int>(names.size());
  for (int row = 0; row < rows; ++row) {
    const std::string name = clipped(names[row], kNameWidth);
    write(sheet, name, x - width_of(name), y + (2 * row + 1) * kSide / (2 * rows) + 5);
  }
}

void draw_scale(cv::Mat& sheet, int x, int y, double max) {
  cv::Mat ramp(kSide, kScaleWidth, CV_64F);
  for (int row = 0; row < kSide; ++row)
    ramp.row(row) = 1.0 - static_cast<double>(row) / (kSide - 1);
  colored(ramp).copyTo(sheet(cv::Rect(x, y, kScaleWidth, kSide)));
  write(sheet, fmt::format("{:.3g}", max), x + kScaleWidth + 6, y + 12);
  write(sheet, "0", x + kScaleWidth + 6, y + kSide);
}

}  // namespace

std::vector<uint8_t> draw_heat_maps(const std::vector<HeatMap>& maps, double max,
                                    const std::vector<std::string>& names) {
  const int count = static_cast<int>(maps.size());
  const int64_t rows = maps.front().values.size(0);
  const bool named = std::ssize(names) == rows && rows <= kMostNames;
  const int left = kGap + (named ? kNameWidth + 6 : 0);
  const int width = left + count * (kSide + kGap) + kScaleWidth + kScaleText;
  cv::Mat sheet(kSide + 2 * kText + 2 * kGap, width, CV_8UC3, cv::Scalar::all(255));
  for (int i = 0; i < count; ++i) {
    const int x = left + i * (kSide + kGap), y = kGap + kText;
    write(sheet, clipped(maps[i].title, kSide), x, y - 8);
    picture_of(maps[i].values, max).copyTo(sheet(cv::Rect(x, y, kSide, kSide)));
    write(sheet, maps[i].caption, x, y + kSide + kText - 4);
  }
  if (named) write_names(sheet, names, left - 6, kGap + kText);
  draw_scale(sheet, left + count * (kSide + kGap), kGap + kText, max);
  return augment::encode_png(sheet);
}

}  // namespace umbra
