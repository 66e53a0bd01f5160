#include <algorithm>
#include <stdexcept>

#include "tests/fuzz/targets.h"
#include "train/data/cifar.h"
#include "train/data/idx.h"
#include "train/data/stl10.h"
#include "train/error.h"

namespace umbra::test {
namespace {

void require(bool holds) {
  if (!holds) throw std::logic_error("the sizes of what was read do not fit");
}

}  // namespace

void fuzz_idx(std::span<const uint8_t> bytes) {
  for (const size_t dimensions : {1, 3}) {
    try {
      const IdxArray array = parse_idx(bytes, dimensions, "file");
      int64_t size = 1;
      for (const int64_t side : array.shape) size *= side;
      require(array.shape.size() == dimensions && size > 0 &&
              static_cast<int64_t>(array.data.size()) == size);
    } catch (const Error&) {
    }
  }
}

void fuzz_cifar(std::span<const uint8_t> bytes) {
  for (const int64_t classes : {10, 100}) {
    PlanarSamples samples;
    try {
      const int64_t count = append_cifar(bytes, classes, "file", samples);
      require(count == static_cast<int64_t>(samples.labels.size()) &&
              samples.pixels.size() == samples.labels.size() * 3 * 32 * 32 &&
              *std::max_element(samples.labels.begin(), samples.labels.end()) < classes);
    } catch (const Error&) {
    }
  }
}

// The first byte is the number of labels, which come next; the rest are images.
void fuzz_stl10(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  const size_t labels = std::min<size_t>(bytes[0], bytes.size() - 1);
  try {
    const PlanarSamples samples =
        parse_stl10(bytes.subspan(1 + labels), "images", bytes.subspan(1, labels), "labels");
    require(samples.labels.size() == labels && samples.pixels.size() == labels * 3 * 96 * 96 &&
            *std::max_element(samples.labels.begin(), samples.labels.end()) < 10);
  } catch (const Error&) {
  }
}

}  // namespace umbra::test
