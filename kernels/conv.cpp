#include "kernels/conv.h"

#ifdef UMBRA_AMX
#include "kernels/amx.h"

namespace umbra::kernels {
namespace {

constexpr int64_t kBlock = 2 * kRows;

// An image with a frame of zeros, its pixels one after the other, `pitch` to a row. Seen this way a
// tap is a shift by (row * pitch + column) pixels, and the three taps of a row are one run of
// 3 * in values: no patches are copied. Outputs are computed for whole rows of the frame, and the
// two too many of each row left out.
struct Frame {
  int64_t pitch, pixels;  // of one image

  explicit Frame(const ConvShape& shape)
      : pitch(shape.width + 2), pixels((shape.height + 2) * (shape.width + 2)) {}
};

int64_t run_depth(const ConvShape& shape) { return padded(3 * shape.in, kDepth); }

// What the tiles read behind the last pixel.
int64_t frame_slack(const ConvShape& shape) { return (kBlock + 3) * shape.in + 2 * kDepth; }

void zero(bf16* values, int64_t count) { __builtin_memset(values, 0, count * sizeof(bf16)); }

// Puts the image into the frame, of which only the border is zeroed.
void fill_frame(const ConvShape& shape, int64_t channels, const bf16* image, bf16* frame) {
  const Frame f(shape);
  const int64_t row = shape.width * channels, pitch = f.pitch * channels;
  zero(frame, pitch + channels);
  for (int64_t y = 0; y < shape.height; ++y) {
    bf16* to = frame + (y + 1) * pitch + channels;
    __builtin_memcpy(to, image + y * row, row * sizeof(bf16));
    zero(to + row, 2 * channels);
  }
  zero(frame + (shape.height + 1) * pitch + channels, pitch - channels);
}

__m512 finished(const Epilogue& epilogue, __m512 sum, int64_t channel, int64_t at,
                __mmask16 lanes) {
  if (epilogue.scale) {
    sum = _mm512_fmadd_ps(sum, load(epilogue.scale + channel, lanes),
                          load(epilogue.shift + channel, lanes));
  }
  if (epilogue.residual) sum = _mm512_add_ps(sum, load(epilogue.residual + at, lanes));
  return epilogue.relu ? _mm512_max_ps(_mm512_setzero_ps(), sum) : sum;  // hands on NaN
}

// Images whose weight gradient is taken at a time, so that sums are long but stay in cache.
int64_t chunk_of(const ConvShape& shape) {
  const int64_t images = 2048 / Frame(shape).pixels;
  return images > 0 ? images : 1;
}

struct GradientSizes {
  int64_t pixels, shifted;  // of a chunk's frames; with what the largest shift reads behind them
  int64_t in, out;          // padded

  explicit GradientSizes(const ConvShape& shape)
      : pixels(padded(chunk_of(shape) * Frame(shape).pixels, kDepth)),
        shifted(padded(pixels + 2 * Frame(shape).pitch + 2, kDepth)),
        in(padded(shape.in, kRows)),
        out(padded(shape.out, kRows)) {}
  int64_t frame() const { return padded(shifted * (in > out ? in : out), 32); }  // in bf16
};

}  // namespace

ConvShape backward_shape(const ConvShape& shape) {
  return {shape.height, shape.width, shape.out, shape.in};
}

int64_t packed_weights_size(const ConvShape& shape, bool backward) {
  const ConvShape s = backward ? backward_shape(shape) : shape;
  return 3 * run_depth(s) * padded(s.out, kRows);
}

void pack_weights(const ConvShape& shape, bool backward, const float* weights, bf16* packed) {
  const ConvShape s = backward ? backward_shape(shape) : shape;
  const int64_t depth = run_depth(s), columns = padded(s.out, kRows);
  zero(packed, packed_weights_size(shape, backward));
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t k = 0; k < 3 * s.in; ++k) {
      const int64_t column = k / s.in, in = k % s.in;
      for (int64_t out = 0; out < s.out; ++out) {
        const float weight = backward ? weights[((in * s.out + out) * 3 + 2 - row) * 3 + 2 - column]
                                      : weights[((out * s.in + in) * 3 + row) * 3 + column];
        const __m128 value = _mm_set_ss(weight);
        const auto half = reinterpret_cast<__m128i>(_mm_cvtneps_pbh(value));
        packed[row * depth * columns + (k / 2 * columns + out) * 2 + k % 2] =
            static_cast<bf16>(_mm_extract_epi16(half, 0));
      }
    }
  }
}

int64_t conv_scratch(const ConvShape& shape) {
  const int64_t frame = Frame(shape).pixels * shape.in + frame_slack(shape);
  return kBlock * kBlock + padded(frame, 32) / 2;
}

void conv(const ConvShape& shape, const bf16* image, const bf16* packed, const Epilogue& epilogue,
          bf16* out, float* scratch) {
  const Frame f(shape);
  float* sums = scratch;  // [kBlock, kBlock]
  bf16* frame = reinterpret_cast<bf16*>(scratch + kBlock * kBlock);
  fill_frame(shape, shape.in, image, frame);
  zero(frame + f.pixels * shape.in, frame_slack(shape));
  const int64_t depth = run_depth(shape), columns = padded(shape.out, kRows);
  const int64_t places = shape.height * f.pitch, row = f.pitch * shape.in;
  memory_is_read();
  for (int64_t j = 0; j < columns; j += kBlock) {
    int64_t x = 0, y = 0;
    for (int64_t i = 0; i < places; i += kBlock) {
      with_block(places - i, columns - j, [&](auto block) {
        block.zero();
        for (int64_t tap_row = 0; tap_row < 3; ++tap_row) {
          block.add(frame + i * shape.in + tap_row * row, shape.in,
                    packed + tap_row * depth * columns + 2 * j, columns, depth);
        }
        block.store(sums, kBlock);
      });
      const int64_t count = places - i < kBlock ? places - i : kBlock;
      for (int64_t r = 0; r < count; ++r) {
        if (x < shape.width) {
          const int64_t to = (y * shape.width + x) * shape.out;
          for (int64_t c = 0; c < kBlock && j + c < columns; c += 16) {
            const int64_t channel = j + c;
            const __mmask16 lanes = lanes16(shape.out - channel);
            const __m512 sum = _mm512_loadu_ps(sums + r * kBlock + c);
            store(out + to + channel, lanes, finished(epilogue, sum, channel, to + channel, lanes));
          }
        }
        if (++x == f.pitch) {
          x = 0;
          ++y;
        }
      }
    }
  }
}

WeightSums weight_sums(const ConvShape& shape) {
  return {padded(shape.in, kRows), padded(shape.out, kRows)};
}

int64_t weight_gradient_scratch(const ConvShape& shape) {
  const GradientSizes size(shape);
  const int64_t halves = size.frame() +                // one of the two in frames
                         2 * size.shifted * size.in +  // the input, paired, then by channel
                         size.pixels * size.out;       // the gradient, paired
  return halves / 2 + 64;
}

// By channels the input is the left side, the gradient by pixels the right one: for each tap
// sums[in, out] += sum over pixels of input[pixel + shift, in] * grad_out[pixel, out].
void weight_gradient(const ConvShape& shape, int64_t images, const bf16* image,
                     const bf16* grad_out, float* sums, float* scratch) {
  const Frame f(shape);
  const GradientSizes size(shape);
  bf16* frames = reinterpret_cast<bf16*>(scratch);
  bf16* paired = frames + size.frame();
  bf16* by_channel = paired + size.shifted * size.in;
  bf16* grad_paired = by_channel + size.shifted * size.in;
  const int64_t plane = shape.height * shape.width, chunk = chunk_of(shape);
  for (int64_t first = 0; first < images; first += chunk) {
    const int64_t count = images - first < chunk ? images - first : chunk;
    const int64_t filled = count * f.pixels, depth = padded(filled, kDepth);
    for (int64_t i = 0; i < count; ++i) {
      fill_frame(shape, shape.in, image + (first + i) * plane * shape.in,
                 frames + i * f.pixels * shape.in);
    }
    pack_pairs(frames, shape.in, filled, shape.in, paired, size.shifted, size.in);
    transpose(reinterpret_cast<const uint32_t*>(paired), size.in, size.shifted / 2, size.in,
              reinterpret_cast<uint32_t*>(by_channel), size.shifted / 2);
    // Output pixel (y, x) lies where tap (0, 0) of it does: at the frame's (y, x), not (y+1, x+1).
    zero(frames, filled * shape.out);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t y = 0; y < shape.height; ++y) {
        __builtin_memcpy(frames + (i * f.pixels + y * f.pitch) * shape.out,
                         grad_out + ((first + i) * plane + y * shape.width) * shape.out,
                         shape.width * shape.out * sizeof(bf16));
      }
    }
    pack_pairs(frames, shape.out, filled, shape.out, grad_paired, depth, size.out);
    for (int64_t tap = 0; tap < 9; ++tap) {
      multiply<Sums::kGoOn>(size.in, size.out, depth, by_channel + tap / 3 * f.pitch + tap % 3,
                            size.shifted, grad_paired, size.out, sums + tap * size.in * size.out,
                            size.out);
    }
  }
}

}  // namespace umbra::kernels
#endif
