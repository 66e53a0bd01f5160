#include "augment/pipeline.h"

#include <algorithm>
#include <cmath>

#include "augment/erase.h"
#include "augment/geometry.h"
#include "augment/pixel_ops.h"

namespace umbra::augment {
namespace {

constexpr double kMinSigma = 0.1, kMaxSigma = 2.0;
constexpr int kBlurKernel = 23;

OpInterpolation op_interpolation(const std::string& name) {
  if (name == "random") return OpInterpolation::kRandom;
  return name == "bilinear" ? OpInterpolation::kBilinear : OpInterpolation::kBicubic;
}

// timm fills what a geometric operation uncovers with the mean colour, torchvision with black.
cv::Scalar fill_color(const AugmentOptions& options) {
  cv::Scalar fill;
  if (options.auto_augment == "ta_wide") return fill;
  for (size_t c = 0; c < std::min<size_t>(options.mean.size(), 4); ++c) {
    fill[static_cast<int>(c)] = std::min(255.0, std::nearbyint(255.0 * options.mean[c]));
  }
  return fill;
}

// The image scaled to cover a size x size square and cut to it, where it is not one already.
cv::Mat to_square(const cv::Mat& image, int size, Interpolation interpolation) {
  if (image.cols == size && image.rows == size) return image;
  return resize_and_center_crop(image, size, 1.0, interpolation);
}

}  // namespace

Pipeline::Pipeline(const AugmentOptions& options) : options_(options), fill_(fill_color(options)) {
  if (options.auto_augment.empty()) return;
  policy_ =
      Policy::parse(options.auto_augment, op_interpolation(options.interpolation), options.policy);
}

void Pipeline::draw_geometry(ViewDraw& draw, Rng& rng, int width, int height) const {
  const int size = static_cast<int>(options_.image_size);
  const int padding = static_cast<int>(options_.crop_padding);
  draw.interpolation =
      options_.interpolation == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
  if (options_.interpolation == "random" && rng.coin(0.5)) {
    draw.interpolation = Interpolation::kBilinear;
  }
  if (options_.crop == "random_resized") {
    draw.crop = draw_resized_crop(rng, width, height, options_.scale, options_.ratio);
  } else if (options_.crop != "none") {
    const bool simple = options_.crop == "simple";
    const int64_t shorter = std::min(width, height);
    const int64_t room_x = simple ? int64_t{size} * width / shorter - size : 0;
    const int64_t room_y = simple ? int64_t{size} * height / shorter - size : 0;
    const int y = static_cast<int>(rng.below(room_y + 2 * padding + 1));
    const int x = static_cast<int>(rng.below(room_x + 2 * padding + 1));
    draw.crop = {x, y, size, size};
  }
  draw.hflip = rng.coin(options_.hflip);
  draw.vflip = options_.vflip > 0.0 && rng.coin(options_.vflip);
}

void Pipeline::draw_colors(ViewDraw& draw, Rng& rng) const {
  if (policy_) draw.policy = policy_->draw(rng);
  const bool jitters = !options_.color_jitter.empty() && rng.coin(options_.color_jitter_prob);
  if (jitters) draw.jitter = draw_jitter(rng, options_.color_jitter);
  draw.grayscale = options_.grayscale_prob > 0.0 && rng.coin(options_.grayscale_prob);
  if (options_.blur_prob > 0.0 && rng.coin(options_.blur_prob)) {
    draw.blur_sigma = rng.uniform(kMinSigma, kMaxSigma);
  }
}

// What makes view 1, 2 or 3 differ from the normal one.
void Pipeline::draw_pretext(ViewDraw& draw, Rng& rng, int view) const {
  const int size = static_cast<int>(options_.image_size);
  if (options_.pretext == "rotation") {
    draw.quarters = view;
    draw.pretext_label = view;
  } else if (options_.pretext == "jigsaw") {
    draw.permutation = static_cast<int>(rng.below(kJigsawPermutations));
    draw.pretext_label = draw.permutation;
  } else if (options_.pretext == "pool") {
    draw.pool = {draw_pool_op(rng, size, size)};
  } else {
    draw.pool = draw_exemplar(rng, size, size);
  }
}

std::vector<ViewDraw> Pipeline::draw(const ViewKey& key, int width, int height) const {
  std::vector<ViewDraw> draws;
  for (int view = 0; view < options_.views(); ++view) {
    draws.push_back(draw_view(key, view, width, height));
    if (view == 0 || draws[view].quarters > 0) continue;
    // The views of a sample share crop and flip, but for those that are turned before the crop.
    draws[view].crop = draws[0].crop;
    draws[view].interpolation = draws[0].interpolation;
    draws[view].vflip = draws[0].vflip;
  }
  for (ViewDraw& draw : draws) draw.hflip = draws[0].hflip;
  return draws;
}

ViewDraw Pipeline::draw_view(const ViewKey& key, int view, int width, int height) const {
  const auto stream = [&](Purpose purpose) {
    const auto repeat = static_cast<uint32_t>(key.repeat * options_.views() + view);
    return Rng({key.seed, purpose, key.index, key.epoch, repeat});
  };
  ViewDraw draw;
  if (view > 0 && options_.pretext != "none") {
    Rng rng = stream(Purpose::kPretext);
    draw_pretext(draw, rng, view);
  }
  Rng geometry = stream(Purpose::kGeometry);
  const bool sideways = draw.quarters % 2 == 1;
  draw_geometry(draw, geometry, sideways ? height : width, sideways ? width : height);
  if (view == 0 && options_.splits > 1) return draw;  // the clean one
  Rng colors = stream(Purpose::kPolicy);
  draw_colors(draw, colors);
  if (options_.erase_prob > 0.0) {
    Rng rng = stream(Purpose::kErase);
    const int size = static_cast<int>(options_.image_size);
    draw.erased = draw_erased(rng, options_, size, size);
    draw.noise_seed = (uint64_t{rng.next()} << 32) | rng.next();
  }
  return draw;
}

cv::Mat Pipeline::cropped(const LazyImage& image, const ViewDraw& draw) const {
  const int size = static_cast<int>(options_.image_size);
  const int padding = static_cast<int>(options_.crop_padding);
  if (options_.crop == "random_resized" && draw.quarters == 0) {
    return resize(image.window(draw.crop, size, size), size, size, draw.interpolation);
  }
  // SSKD flips before it turns; a flip after a quarter turn would mirror the other axis.
  cv::Mat whole = image.pixels();
  if (draw.quarters > 0) whole = rotate_quarters(draw.hflip ? hflip(whole) : whole, draw.quarters);
  if (options_.crop == "random_resized") {
    return resize(crop(whole, draw.crop), size, size, draw.interpolation);
  }
  if (options_.crop == "simple") {
    return pad_and_crop(resize_shorter(whole, size, draw.interpolation), padding, Padding::kReflect,
                        draw.crop.x, draw.crop.y, size);
  }
  const cv::Mat square = to_square(whole, size, draw.interpolation);
  if (options_.crop == "none") return square;
  return pad_and_crop(square, padding, Padding::kBlack, draw.crop.x, draw.crop.y, size);
}

cv::Mat Pipeline::train_view(const LazyImage& image, const ViewDraw& draw,
                             const Observer& observe) const {
  cv::Mat view;
  const auto become = [&](const auto& name, cv::Mat changed) {
    view = std::move(changed);
    if (observe) observe(std::string(name()), view);
  };
  const auto named = [](const char* name) { return [name] { return name; }; };

  become(named("decode, crop, resize"), cropped(image, draw));
  if (draw.hflip && draw.quarters == 0) become(named("hflip"), hflip(view));
  if (draw.vflip) become(named("vflip"), vflip(view));
  if (draw.policy.weights.empty()) {
    for (const auto& chain : draw.policy.chains) {
      for (const DrawnOp& op : chain) become([&] { return op.name(); }, op.apply(view, fill_));
    }
  } else {
    become(named("AugMix"), apply(view, draw.policy, fill_));
  }
  if (draw.jitter) become(named("color jitter"), apply(view, *draw.jitter));
  if (draw.grayscale) become(named("grayscale"), grayscale(view));
  if (draw.blur_sigma > 0.0) {
    become(named("blur"), gaussian_filter(view, kBlurKernel, draw.blur_sigma));
  }
  for (const PoolOp& op : draw.pool) {
    become([&] { return op.name(); }, apply(view, op, draw.interpolation));
  }
  if (draw.permutation > 0) become(named("jigsaw"), jigsaw(view, draw.permutation));
  return view;
}

cv::Mat Pipeline::eval_view(const LazyImage& image) const {
  return resize_and_center_crop(image.pixels(), static_cast<int>(options_.image_size),
                                options_.crop_pct,
                                parse_interpolation(options_.eval_interpolation));
}

}  // namespace umbra::augment
