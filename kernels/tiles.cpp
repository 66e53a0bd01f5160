#include "kernels/support.h"

#ifdef UMBRA_KERNELS
#include <immintrin.h>

namespace umbra::kernels {

Tiles::Tiles() {
  if (!have_tiles()) return;
  // Static: GCC 12 takes only the first bytes for read, and would leave others unwritten.
  alignas(64) static const struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
}

Tiles::~Tiles() {
  if (have_tiles()) _tile_release();
}

}  // namespace umbra::kernels
#endif
