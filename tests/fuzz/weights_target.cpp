#include <stdexcept>

#include "tests/fuzz/targets.h"
#include "train/error.h"
#include "train/weights/views.h"

namespace umbra::test {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// Whatever is accepted must lie inside the file, take no more memory than a small multiple of it,
// and be fit to copy.
void check(const TensorViews& views, std::span<const uint8_t> file) {
  const auto* end = file.data() + file.size();
  size_t total = 0;
  for (const auto& [name, view] : views) {
    const auto* begin = view.storage.data();
    require(view.storage.empty() || (begin >= file.data() && begin + view.storage.size() <= end),
            "a storage outside the file");
    std::vector<uint8_t> copy(static_cast<size_t>(checked_byte_count(view)));
    copy_elements(view, copy);
    total += copy.size();
  }
  require(total <= 8 * file.size() + (size_t{1} << 24) + 8, "tensors larger than allowed");
}

template <class View>
void fuzz(std::span<const uint8_t> file, View&& view) {
  try {
    check(view(file), file);
  } catch (const Error&) {
  }
}

}  // namespace

void fuzz_pth(std::span<const uint8_t> bytes) {
  fuzz(bytes, [](std::span<const uint8_t> file) { return view_pth(file); });
}

void fuzz_safetensors(std::span<const uint8_t> bytes) { fuzz(bytes, view_safetensors); }

}  // namespace umbra::test
