#include "augment/ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/affine.h"
#include "augment/nearest_hint.h"
#include "augment/pixel_ops.h"

namespace umbra::augment {
namespace {

constexpr double kTopLevel = 10.0;

// --- timm's rules from level to argument -----------------------------------------------------
// With the order of operations of auto_augment.py, as results are truncated to integers or bytes.

double no_argument(double, double) { return 0.0; }
double rotation(double level, double sign) { return sign * (level / kTopLevel * 30.0); }
double shear(double level, double sign) { return sign * (level / kTopLevel * 0.3); }
double side_share(double level, double sign) { return sign * (level / kTopLevel * 0.45); }
double augmix_side_share(double level, double sign) { return sign * (level / kTopLevel * 0.3); }
double signed_share(double level, double sign) { return sign * (level / kTopLevel); }

double bits(double level, double) { return std::trunc(level / kTopLevel * 4.0); }
double bits_original(double level, double) { return bits(level, 1) + 4.0; }

// From level 10 on timm keeps 0 bits: a black image, or an exception, as Pillow's version has it.
// Here 1 bit stays.
double bits_increasing(double level, double) { return std::max(1.0, 4.0 - bits(level, 1)); }

double threshold(double level, double) {
  return std::min(256.0, std::trunc(level / kTopLevel * 256.0));
}

double threshold_increasing(double level, double) { return 256.0 - threshold(level, 1); }
double added(double level, double) {
  return std::min(128.0, std::trunc(level / kTopLevel * 110.0));
}
double factor(double level, double) { return level / kTopLevel * 1.8 + 0.1; }

double factor_increasing(double level, double sign) {
  return std::max(0.1, 1.0 + sign * (level / kTopLevel * 0.9));
}

double between(double low, double high, double level) {
  return std::clamp(low + (high - low) * (level / kTopLevel), low, high);
}

double grayness(double level, double) { return between(0.5, 1.0, level); }
double radius(double level, double) { return between(0.1, 2.0, level); }

double random_radius(double level, double share) {
  const double low = 0.1, high = 2.0 * between(0.0, 1.0, level);
  return low + (high - low) * share;
}

// --- torchvision's TrivialAugmentWide: bins to arguments -------------------------------------

// torchvision holds magnitudes in float32.
double bin_value(double bin, double top) {
  return static_cast<float>(top * bin / (kTrivialBins - 1));
}

// torchvision goes through the angle, atan(factor), and back.
double wide_shear(double bin, double sign) { return sign * bin_value(bin, 0.99); }

// torch.linspace may end up at 15.999999 for bin 15 (that depends on the processor), which
// torchvision truncates to 15 pixels: here it is 16.
double wide_pixels(double bin, double sign) { return sign * std::trunc(bin_value(bin, 32.0)); }
double wide_rotation(double bin, double sign) { return sign * bin_value(bin, 135.0); }
double wide_factor(double bin, double sign) { return 1.0 + sign * bin_value(bin, 0.99); }
double wide_bits(double bin, double) { return 8.0 - std::nearbyint(bin_value(bin, 6.0)); }
double wide_threshold(double bin, double) { return 255.0 - bin_value(bin, 255.0); }

// --- from argument to pixels -----------------------------------------------------------------

template <cv::Mat (*kFunction)(const cv::Mat&)>
cv::Mat plain(const cv::Mat& image, double, Interpolation, const cv::Scalar&) {
  return kFunction(image);
}

template <cv::Mat (*kFunction)(const cv::Mat&, double)>
cv::Mat by_factor(const cv::Mat& image, double factor, Interpolation, const cv::Scalar&) {
  return kFunction(image, factor);
}

// Rounded up, as values at or above a threshold of 76.5 are those from 77.
template <cv::Mat (*kFunction)(const cv::Mat&, int)>
cv::Mat by_integer(const cv::Mat& image, double value, Interpolation, const cv::Scalar&) {
  return kFunction(image, static_cast<int>(std::ceil(value)));
}

cv::Mat unchanged(const cv::Mat& image) { return image; }
cv::Mat desaturate(const cv::Mat& image, double grayness) {
  return adjust_color(image, 1.0 - grayness);
}
cv::Mat add_below_half(const cv::Mat& image, int add) { return solarize_add(image, add); }

// `share` of the width, and so on.
cv::Mat translate_x_by_share(const cv::Mat& image, double share, Interpolation interpolation,
                             const cv::Scalar& fill) {
  return translate_x(image, share * image.cols, interpolation, fill);
}

cv::Mat translate_y_by_share(const cv::Mat& image, double share, Interpolation interpolation,
                             const cv::Scalar& fill) {
  return translate_y(image, share * image.rows, interpolation, fill);
}

// timm's translate_const.
double largest_shift(const cv::Mat& image) {
  return std::trunc(0.45 * std::min(image.cols, image.rows));
}

cv::Mat translate_x_absolute(const cv::Mat& image, double share, Interpolation interpolation,
                             const cv::Scalar& fill) {
  return translate_x(image, share * largest_shift(image), interpolation, fill);
}

cv::Mat translate_y_absolute(const cv::Mat& image, double share, Interpolation interpolation,
                             const cv::Scalar& fill) {
  return translate_y(image, share * largest_shift(image), interpolation, fill);
}

// torchvision moves the content right and down for positive pixels.
cv::Mat move_right(const cv::Mat& image, double pixels, Interpolation interpolation,
                   const cv::Scalar& fill) {
  return translate_x(image, -pixels, interpolation, fill);
}

cv::Mat move_down(const cv::Mat& image, double pixels, Interpolation interpolation,
                  const cv::Scalar& fill) {
  return translate_y(image, -pixels, interpolation, fill);
}

// --- arguments for people --------------------------------------------------------------------

std::string no_text(double) { return ""; }
std::string degrees_text(double value) { return fmt::format(" {:.1f} deg", value); }
std::string number_text(double value) { return fmt::format(" {:.2f}", value); }
std::string bits_text(double value) {
  return fmt::format(" {} bit{}", value, value == 1 ? "" : "s");
}
std::string threshold_text(double value) { return fmt::format(" >= {}", value); }
std::string added_text(double value) { return fmt::format(" +{}", value); }
std::string radius_text(double value) { return fmt::format(" radius {:.2f}", value); }
std::string pixels_text(double value) { return fmt::format(" {} px", value); }
std::string absolute_text(double value) {
  return fmt::format(" {:.2f} x 45% of the shorter side", value);
}

// --- the operations --------------------------------------------------------------------------

const std::array kTimmOps = std::to_array<Op>({
    {"AutoContrast", Chance::kNone, no_argument, plain<auto_contrast>, no_text},
    {"Equalize", Chance::kNone, no_argument, plain<equalize>, no_text},
    {"Invert", Chance::kNone, no_argument, plain<invert>, no_text},
    {"Rotate", Chance::kSign, rotation, rotate, degrees_text},
    {"Posterize", Chance::kNone, bits, by_integer<posterize>, bits_text},
    {"PosterizeIncreasing", Chance::kNone, bits_increasing, by_integer<posterize>, bits_text},
    {"PosterizeOriginal", Chance::kNone, bits_original, by_integer<posterize>, bits_text},
    {"Solarize", Chance::kNone, threshold, by_integer<solarize>, threshold_text},
    {"SolarizeIncreasing", Chance::kNone, threshold_increasing, by_integer<solarize>,
     threshold_text},
    {"SolarizeAdd", Chance::kNone, added, by_integer<add_below_half>, added_text},
    {"Color", Chance::kNone, factor, by_factor<adjust_color>, number_text},
    {"ColorIncreasing", Chance::kSign, factor_increasing, by_factor<adjust_color>, number_text},
    {"Contrast", Chance::kNone, factor, by_factor<adjust_contrast>, number_text},
    {"ContrastIncreasing", Chance::kSign, factor_increasing, by_factor<adjust_contrast>,
     number_text},
    {"Brightness", Chance::kNone, factor, by_factor<adjust_brightness>, number_text},
    {"BrightnessIncreasing", Chance::kSign, factor_increasing, by_factor<adjust_brightness>,
     number_text},
    {"Sharpness", Chance::kNone, factor, by_factor<adjust_sharpness>, number_text},
    {"SharpnessIncreasing", Chance::kSign, factor_increasing, by_factor<adjust_sharpness>,
     number_text},
    {"ShearX", Chance::kSign, shear, shear_x, number_text},
    {"ShearY", Chance::kSign, shear, shear_y, number_text},
    {"TranslateX", Chance::kSign, signed_share, translate_x_absolute, absolute_text},
    {"TranslateY", Chance::kSign, signed_share, translate_y_absolute, absolute_text},
    {"TranslateXRel", Chance::kSign, side_share, translate_x_by_share, number_text},
    {"TranslateYRel", Chance::kSign, side_share, translate_y_by_share, number_text},
    {"Desaturate", Chance::kNone, grayness, by_factor<desaturate>, number_text},
    {"GaussianBlur", Chance::kNone, radius, by_factor<gaussian_blur>, radius_text},
    {"GaussianBlurRand", Chance::kShare, random_radius, by_factor<gaussian_blur>, radius_text},
});

const std::array kAugMixOps = std::to_array<Op>({
    {"TranslateXRel", Chance::kSign, augmix_side_share, translate_x_by_share, number_text},
    {"TranslateYRel", Chance::kSign, augmix_side_share, translate_y_by_share, number_text},
});

const std::array kTrivialOps = std::to_array<Op>({
    {"Identity", Chance::kNone, no_argument, plain<unchanged>, no_text},
    {"ShearX", Chance::kSign, wide_shear, shear_x, number_text},
    {"ShearY", Chance::kSign, wide_shear, shear_y, number_text},
    {"TranslateX", Chance::kSign, wide_pixels, move_right, pixels_text},
    {"TranslateY", Chance::kSign, wide_pixels, move_down, pixels_text},
    {"Rotate", Chance::kSign, wide_rotation, rotate, degrees_text},
    {"Brightness", Chance::kSign, wide_factor, by_factor<adjust_brightness>, number_text},
    {"Color", Chance::kSign, wide_factor, by_factor<adjust_color>, number_text},
    {"Contrast", Chance::kSign, wide_factor, by_factor<adjust_contrast>, number_text},
    {"Sharpness", Chance::kSign, wide_factor, by_factor<adjust_sharpness>, number_text},
    {"Posterize", Chance::kNone, wide_bits, by_integer<posterize>, bits_text},
    {"Solarize", Chance::kNone, wide_threshold, by_integer<solarize>, threshold_text},
});

const Op* find(std::span<const Op> ops, const std::string& name) {
  const auto found =
      std::find_if(ops.begin(), ops.end(), [&](const Op& op) { return op.name == name; });
  return found == ops.end() ? nullptr : &*found;
}

}  // namespace

std::string DrawnOp::text() const { return name() + op->text(argument); }

const Op* find_op(const std::string& name, OpRules rules) {
  const Op* own = nullptr;
  if (rules == OpRules::kAugMix) own = find(kAugMixOps, name);
  if (rules == OpRules::kTrivial) own = find(kTrivialOps, name);
  return own ? own : find(kTimmOps, name);
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const Op& op : kTimmOps) names.emplace_back(op.name);
  return names;
}

std::string unknown_op(const std::string& name) {
  const std::vector<std::string> names = op_names();
  return fmt::format("unknown operation '{}'.{} Known are {}", name, nearest_hint(name, names),
                     fmt::join(names, ", "));
}

DrawnOp op_at_level(const std::string& name, double level, Interpolation interpolation) {
  const Op* op = find_op(name);
  if (!op) throw std::invalid_argument(unknown_op(name));
  if (!(level >= 0.0 && level <= kTopLevel)) {
    throw std::invalid_argument(fmt::format("the level of {} is {}: want 0 to 10", name, level));
  }
  return {op, op->argument(level, 1.0), interpolation};
}

}  // namespace umbra::augment
