// The evaluation view and mixing against timm.
#include <opencv2/core.hpp>

#include "augment/mix.h"
#include "augment/pipeline.h"
#include "tests/parity/images.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

TEST(ImageParity, EvaluationViewIsTimms) {
  const TensorMap expected = truth("images");
  const nlohmann::json cases = facts("images").at("eval");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    augment::AugmentOptions options;
    options.image_size = cases[i].at("size");
    options.crop_pct = cases[i].at("crop_pct");
    options.eval_interpolation = cases[i].at("interpolation");
    const augment::LazyImage image(to_image(expected.at(fmt::format("eval_{}/input", i))));
    EXPECT_TRUE(to_tensor(augment::Pipeline(options).eval_view(image))
                    .equal(expected.at(fmt::format("eval_{}/view", i))));
  }
}

TEST(MixParity, ImagesAndTargetsAreTimms) {
  const TensorMap expected = truth("mixing");
  const nlohmann::json cases = facts("mixing");
  ASSERT_FALSE(cases.empty());
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    augment::MixDraw draw;
    for (const nlohmann::json& item : cases[i].at("draws")) {
      augment::Mix& mix = draw.emplace_back();
      mix.lambda = item.at("lam");
      const nlohmann::json& box = item.at("box");
      if (box.is_null()) continue;
      mix.cutmix = true;
      mix.y0 = box[0];
      mix.y1 = box[1];
      mix.x0 = box[2];
      mix.x1 = box[3];
    }
    expect_close(augment::mix_images(expected.at("images"), draw),
                 expected.at(fmt::format("mix_{}/images", i)), 1e-6);
    expect_close(augment::mix_targets(expected.at("labels"), 9, cases[i].at("smoothing"), draw),
                 expected.at(fmt::format("mix_{}/targets", i)), 1e-6);
  }
}

}  // namespace
}  // namespace umbra::test
