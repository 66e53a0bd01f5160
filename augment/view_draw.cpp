#include "augment/view_draw.h"

#include <fmt/format.h>

namespace umbra::augment {
namespace {

std::string text_of(const Box& box) {
  return fmt::format("{}x{}+{}+{}", box.width, box.height, box.x, box.y);
}

}  // namespace

std::vector<std::string> ViewDraw::texts() const {
  std::vector<std::string> texts;
  if (quarters > 0) texts.push_back(fmt::format("turn {} deg", 90 * quarters));
  if (crop.width > 0) texts.push_back("crop " + text_of(crop));
  if (hflip) texts.emplace_back("hflip");
  if (vflip) texts.emplace_back("vflip");
  if (policy.weights.empty()) {
    for (const auto& chain : policy.chains) {
      for (const DrawnOp& op : chain) texts.push_back(op.text());
    }
  } else {
    texts.push_back(policy.text());
  }
  if (jitter) texts.push_back("jitter " + jitter->text());
  if (grayscale) texts.emplace_back("grayscale");
  if (blur_sigma > 0.0) texts.push_back(fmt::format("blur {:.2f}", blur_sigma));
  for (const PoolOp& op : pool) texts.push_back(op.text());
  if (permutation > 0) texts.push_back(fmt::format("jigsaw {}", permutation));
  for (const Box& box : erased) texts.push_back("erase " + text_of(box));
  return texts;
}

}  // namespace umbra::augment
