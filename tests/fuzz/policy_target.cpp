#include <sstream>
#include <stdexcept>

#include "augment/policy.h"
#include "tests/fuzz/targets.h"

namespace umbra::test {

// The first line is the policy's string, the others are the sub-policies of a custom one. Whatever
// is accepted must also draw and run.
void fuzz_policy(std::span<const uint8_t> bytes) {
  std::istringstream lines(std::string(bytes.begin(), bytes.end()));
  std::string text;
  std::getline(lines, text);
  std::vector<std::string> sub_policies;
  for (std::string line; std::getline(lines, line);) sub_policies.push_back(line);
  const auto parse = [&] {
    return augment::Policy::parse(text, augment::OpInterpolation::kRandom, sub_policies);
  };
  try {
    const augment::Policy policy = parse();
    augment::Rng rng({.seed = bytes.size()});
    const cv::Mat image(5, 7, CV_8UC3, cv::Scalar(10, 120, 250));
    const cv::Mat view = augment::apply(image, policy.draw(rng), cv::Scalar(1, 2, 3));
    if (view.size() != image.size()) throw std::logic_error("the policy changed the size");
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace umbra::test
