#include <stdexcept>

#include "tests/fuzz/targets.h"
#include "train/data/tar.h"
#include "train/error.h"

namespace umbra::test {

// Whatever parse_tar accepts must lie inside the archive.
void fuzz_tar(std::span<const uint8_t> bytes) {
  const auto end = static_cast<int64_t>(bytes.size());
  try {
    for (const TarMember& member : parse_tar(bytes)) {
      if (member.offset < 0 || member.size < 0 || member.size > end - member.offset) {
        throw std::logic_error("a member outside the archive");
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace umbra::test
