#include "kernels/conv.h"

#ifdef UMBRA_KERNELS
#include "kernels/products.h"

namespace umbra::kernels {
namespace {

constexpr int64_t kBlock = 2 * kRows;
constexpr int64_t kMaxStride = 2, kMaxSize = 3;
constexpr int64_t kAtOnce = 512;        // pixels of a weight gradient's product: a panel stays near
constexpr int64_t kPlacesAtOnce = 256;  // that a panel of weights serves, at least

void zero(bf16* values, int64_t count) { __builtin_memset(values, 0, count * sizeof(bf16)); }

// Every `step`th pixel of an image, from (y, x) on: place (k, m) holds pixel (y + step * k,
// x + step * m), and zeros where that is outside the image. Places follow each other row by row,
// so a tap of a convolution is a shift by a number of places, and neighbouring taps of a row are
// one run of values: no patches are copied. Where padding ends a row or an image, that before the
// next one serves, or the zeros behind the last place.
struct Plane {
  int64_t rows = 0, pitch = 0, step = 1, y = 0, x = 0;

  int64_t places() const { return rows * pitch; }

  void fill(int64_t height, int64_t width, int64_t channels, const bf16* image, bf16* to) const {
    // Columns that lie in the image.
    const int64_t first = x < 0 ? (-x + step - 1) / step : 0;
    const int64_t beyond = (width - x + step - 1) / step, end = beyond < pitch ? beyond : pitch;
    for (int64_t k = 0; k < rows; ++k, to += pitch * channels) {
      const int64_t row = y + step * k;
      if (row < 0 || row >= height || first >= end) {
        zero(to, pitch * channels);
        continue;
      }
      zero(to, first * channels);
      const bf16* from = image + (row * width + x + step * first) * channels;
      if (step == 1) {
        __builtin_memcpy(to + first * channels, from, (end - first) * channels * sizeof(bf16));
      } else {
        for (int64_t m = first; m < end; ++m, from += step * channels) {
          __builtin_memcpy(to + m * channels, from, channels * sizeof(bf16));
        }
      }
      zero(to + end * channels, (pitch - end) * channels);
    }
  }
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a convolution takes its input apart: into planes by the remainders of row and column, one for
// each that a tap meets.
struct Split {
  int64_t count;  // of remainders
  int64_t reach;  // the largest shift of a tap, in rows or columns of a plane

  explicit Split(const ConvShape& s)
      : count(s.stride < s.size ? s.stride : s.size), reach((s.size - 1) / s.stride) {}

  Plane plane(const ConvShape& s, int64_t a, int64_t b) const {
    const int64_t padding = s.size / 2, more = s.stride == 1 ? padding : reach;
    return {s.out_height() + more, s.out_width() + more, s.stride, a - padding, b - padding};
  }
};

// Taps of one row of the kernel that meet neighbouring places.
struct Run {
  int64_t from = 0;                                 // value of the planes that place 0 starts at
  int64_t above = 0;                                // depth of the runs before it
  int64_t depth = 0;                                // values, padded
  int64_t taps = 0, row = 0, column = 0, step = 1;  // of the kernel: columns column + step * i
};

// Some of the output: position (k, m) is pixel (y + step * k, x + step * m).
struct Pass {
  Run runs[kMaxSize * kMaxStride];
  int64_t count = 0;
  int64_t rows = 0, columns = 0, pitch = 0, step = 1, y = 0, x = 0;
};

// A convolution in one direction: which planes it reads, and in which passes it makes its output.
// A plane has the images one after the other.
struct Plan {
  int64_t images, from_height, from_width, from_channels, to_height, to_width, to_channels;
  Plane planes[kMaxStride * kMaxStride];
  Pass passes[kMaxStride * kMaxStride];
  int64_t plane_count = 0, pass_count = 0, values = 0;
  int64_t depth = 0;        // of all runs
  bool leaves_out = false;  // some of the output, which is zero

  Plan(const ConvShape& shape, Direction direction, int64_t images_) : images(images_) {
    direction == Direction::kForward ? forward(shape) : backward(shape);
  }

  int64_t places() const { return images * planes[0].places(); }  // of a plane
  int64_t from_values() const { return from_height * from_width * from_channels; }
  int64_t to_values() const { return to_height * to_width * to_channels; }

 private:
  // All of the output in one pass.
  void forward(const ConvShape& s) {
    from_height = s.height;
    from_width = s.width;
    from_channels = s.in;
    to_height = s.out_height();
    to_width = s.out_width();
    to_channels = s.out;
    const Split split(s);
    for (int64_t a = 0; a < split.count; ++a) {
      for (int64_t b = 0; b < split.count; ++b) planes[plane_count++] = split.plane(s, a, b);
    }
    values = plane_count * places() * s.in;
    Pass& pass = passes[pass_count++];
    pass.rows = s.out_height();
    pass.columns = s.out_width();
    pass.pitch = planes[0].pitch;
    for (int64_t row = 0; row < s.size; ++row) {
      for (int64_t b = 0; b < split.count; ++b) {
        const int64_t plane = row % s.stride * split.count + b;
        const int64_t at = plane * places() + row / s.stride * pass.pitch;
        add_run(pass, at, {0, 0, 0, ceil_div(s.size - b, s.stride), row, b, s.stride});
      }
    }
  }

  // Pixels of the input whose padded row and column leave the same remainders meet the same taps:
  // a pass for each such pair.
  void backward(const ConvShape& s) {
    from_height = s.out_height();
    from_width = s.out_width();
    from_channels = s.out;
    to_height = s.height;
    to_width = s.width;
    to_channels = s.in;
    leaves_out = s.size < s.stride;
    const int64_t padding = s.size / 2, border = s.stride == 1 ? padding : 0;
    const int64_t behind = s.size > 1 && s.stride > 1 ? 1 : 0;
    planes[plane_count++] = {from_height + border + behind, from_width + border + behind, 1,
                             -border, -border};
    values = places() * from_channels;
    const Split split(s);
    for (int64_t a = 0; a < split.count; ++a) {
      for (int64_t b = 0; b < split.count; ++b) {
        Pass& pass = passes[pass_count++];
        // The first row and column of their kind inside the image, counted in the padded one.
        const int64_t k = ceil_div(padding - a, s.stride), m = ceil_div(padding - b, s.stride);
        pass.step = s.stride;
        pass.y = s.stride * k + a - padding;
        pass.x = s.stride * m + b - padding;
        pass.rows = ceil_div(s.height - pass.y, s.stride);
        pass.columns = ceil_div(s.width - pass.x, s.stride);
        pass.pitch = planes[0].pitch;
        const int64_t taps = ceil_div(s.size - b, s.stride);
        for (int64_t t = 0; a + s.stride * t < s.size; ++t) {
          const int64_t at = (k - t + border) * pass.pitch + m - (taps - 1) + border;
          add_run(pass, at,
                  {0, 0, 0, taps, a + s.stride * t, b + s.stride * (taps - 1), -s.stride});
        }
      }
    }
  }

  void add_run(Pass& pass, int64_t place, Run run) {
    run.from = place * from_channels;
    run.above = depth;
    run.depth = padded(run.taps * from_channels, kDepth);
    depth += run.depth;
    pass.runs[pass.count++] = run;
  }
};

// Paired matrices lie in panels of two tiles' columns (the last one perhaps of one), each by
// itself: so what a product reads follows itself in memory.
int64_t panel_width(int64_t columns, int64_t j) {
  return columns - j < 2 * kRows ? columns - j : 2 * kRows;
}

// What the tiles read behind the last place.
int64_t slack(const Plan& plan) {
  const int64_t shift = (kMaxSize - 1) * (plan.planes[0].pitch + 1);
  return (kBlock + shift) * plan.from_channels + 2 * kDepth;
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

// One pass over the filled planes.
void run_pass(const Plan& plan, const Pass& pass, const bf16* planes, const bf16* packed,
              const Epilogue& epilogue, bf16* out, float* sums) {
  const int64_t in = plan.from_channels, channels = plan.to_channels;
  const int64_t columns = padded(channels, kRows), rows = plan.planes[0].rows;
  const int64_t places = ((plan.images - 1) * rows + pass.rows) * pass.pitch;
  for (int64_t j = 0; j < columns; j += kBlock) {
    const int64_t width = panel_width(columns, j);
    const bf16* panel = packed + j * plan.depth;
    int64_t image = 0, k = 0, m = 0;
    for (int64_t i = 0; i < places; i += kBlock) {
      with_block(places - i, columns - j, [&](auto block) {
        block.zero();
        for (int64_t r = 0; r < pass.count; ++r) {
          const Run& run = pass.runs[r];
          block.add(planes + run.from + i * in, in, panel + run.above * width, width, run.depth);
        }
        block.store(sums, kBlock);
      });
      const int64_t count = places - i < kBlock ? places - i : kBlock;
      for (int64_t p = 0; p < count; ++p) {
        if (m < pass.columns && k < pass.rows) {
          const int64_t y = pass.y + pass.step * k, x = pass.x + pass.step * m;
          const int64_t to = ((image * plan.to_height + y) * plan.to_width + x) * channels;
          for (int64_t c = 0; c < kBlock && j + c < columns; c += 16) {
            const int64_t channel = j + c;
            const __mmask16 lanes = lanes16(channels - channel);
            const __m512 sum = _mm512_loadu_ps(sums + p * kBlock + c);
            store(out + to + channel, lanes, finished(epilogue, sum, channel, to + channel, lanes));
          }
        }
        if (++m == pass.pitch) {
          m = 0;
          if (++k == rows) {
            k = 0;
            ++image;
          }
        }
      }
    }
  }
}

// Images whose weight gradient is taken at a time, so that sums are long but stay in cache.
int64_t chunk_of(const Plane& plane) {
  const int64_t images = 2048 / plane.places();
  return images > 0 ? images : 1;
}

struct GradientSizes {
  Split split;
  Plane plane;              // the first of those of the input
  int64_t pixels, shifted;  // of a chunk's planes; with what the largest shift reads behind them
  int64_t in, out;          // padded

  explicit GradientSizes(const ConvShape& shape)
      : split(shape),
        plane(split.plane(shape, 0, 0)),
        pixels(padded(chunk_of(plane) * plane.places(), kDepth)),
        shifted(padded(pixels + split.reach * (plane.pitch + 1), kDepth)),
        in(padded(shape.in, kRows)),
        out(padded(shape.out, kRows)) {}
  int64_t planes() const { return split.count * split.count; }
  int64_t filled() const { return padded(pixels * (in > out ? in : out), 32); }  // in bf16
};

}  // namespace

int64_t packed_weights_size(const ConvShape& shape, Direction direction) {
  const Plan plan(shape, direction, 1);
  return plan.depth * padded(plan.to_channels, kRows);
}

int64_t weight_blocks(const ConvShape& shape, Direction direction) {
  return padded(Plan(shape, direction, 1).to_channels, kRows) / kRows;
}

void pack_weights(const ConvShape& shape, Direction direction, const float* weights, int64_t block,
                  bf16* packed) {
  const Plan plan(shape, direction, 1);
  const bool forward = direction == Direction::kForward;
  const int64_t kernel = shape.size * shape.size, in = plan.from_channels;
  const int64_t out_stride = forward ? shape.in * kernel : kernel;
  const int64_t in_stride = forward ? kernel : shape.in * kernel;
  const int64_t columns = padded(plan.to_channels, kRows);
  const int64_t out = block * kRows, j = out / kBlock * kBlock, width = panel_width(columns, j);
  const __mmask16 lanes = lanes16(plan.to_channels - out);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i at = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(out_stride)));
  for (int64_t p = 0; p < plan.pass_count; ++p) {
    for (int64_t r = 0; r < plan.passes[p].count; ++r) {
      const Run& run = plan.passes[p].runs[r];
      bf16* panel = packed + j * plan.depth + run.above * width + 2 * (out - j);
      // The weights of value k of the run, to 16 channels, as 16 bits in 32.
      const auto row = [&](int64_t k) {
        if (k >= run.taps * in) return _mm512_setzero_si512();
        const int64_t column = run.column + run.step * (k / in);
        const float* from =
            weights + out * out_stride + k % in * in_stride + run.row * shape.size + column;
        const __m512 values = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, at, from, 4);
        return _mm512_cvtepu16_epi32(narrow(values));
      };
      for (int64_t k = 0; k < run.depth; k += 2) {
        const __m512i pair = _mm512_or_si512(row(k), _mm512_slli_epi32(row(k + 1), 16));
        _mm512_storeu_si512(panel + k * width, pair);
      }
    }
  }
}

int64_t images_at_once(const ConvShape& shape) {
  return ceil_div(kPlacesAtOnce, shape.out_height() * shape.out_width());
}

int64_t conv_scratch(const ConvShape& shape, Direction direction) {
  const Plan plan(shape, direction, images_at_once(shape));
  return kBlock * kBlock + padded(plan.values + slack(plan), 32) / 2;
}

void conv(const ConvShape& shape, Direction direction, int64_t images, const bf16* image,
          const bf16* packed, const Epilogue& epilogue, bf16* out, float* scratch) {
  const Plan plan(shape, direction, images);
  float* sums = scratch;  // [kBlock, kBlock]
  bf16* planes = reinterpret_cast<bf16*>(scratch + kBlock * kBlock);
  for (int64_t p = 0; p < plan.plane_count; ++p) {
    const Plane& plane = plan.planes[p];
    for (int64_t i = 0; i < images; ++i) {
      plane.fill(plan.from_height, plan.from_width, plan.from_channels,
                 image + i * plan.from_values(),
                 planes + (p * images + i) * plane.places() * plan.from_channels);
    }
  }
  zero(planes + plan.values, slack(plan));
  if (plan.leaves_out) zero(out, images * shape.in_values());
  memory_is_read();
  for (int64_t p = 0; p < plan.pass_count; ++p) {
    run_pass(plan, plan.passes[p], planes, packed, epilogue, out, sums);
  }
}

WeightSums weight_sums(const ConvShape& shape) {
  return {shape.size * shape.size, padded(shape.in, kRows), padded(shape.out, kRows)};
}

int64_t weight_gradient_scratch(const ConvShape& shape) {
  const GradientSizes size(shape);
  const int64_t halves = size.filled() +  // one of those below, by pixels
                         (1 + size.planes()) * size.shifted * size.in +  // paired; by channel
                         size.pixels * size.out;                         // the gradient, paired
  return halves / 2 + 64;
}

// By channels the input is the left side, the gradient by pixels the right one: for each tap
// sums[in, out] = sum over places of plane[place + shift, in] * grad_out[place, out].
void weight_gradient(const ConvShape& shape, int64_t images, const bf16* image,
                     const bf16* grad_out, float* sums, float* scratch) {
  const GradientSizes size(shape);
  bf16* filled = reinterpret_cast<bf16*>(scratch);
  bf16* paired = filled + size.filled();
  bf16* by_channel = paired + size.shifted * size.in;
  bf16* grad_paired = by_channel + size.planes() * size.shifted * size.in;
  const int64_t places = size.plane.places(), chunk = chunk_of(size.plane);
  const Plane grad_plane{size.plane.rows, size.plane.pitch};
  for (int64_t first = 0; first < images; first += chunk) {
    const int64_t count = images - first < chunk ? images - first : chunk;
    const int64_t pixels = count * places, depth = padded(pixels, kDepth);
    for (int64_t p = 0; p < size.planes(); ++p) {
      const Plane plane = size.split.plane(shape, p / size.split.count, p % size.split.count);
      for (int64_t i = 0; i < count; ++i) {
        plane.fill(shape.height, shape.width, shape.in, image + (first + i) * shape.in_values(),
                   filled + i * places * shape.in);
      }
      pack_pairs(filled, shape.in, pixels, shape.in, paired, size.shifted, size.in);
      transpose(reinterpret_cast<const uint32_t*>(paired), size.in, size.shifted / 2, size.in,
                reinterpret_cast<uint32_t*>(by_channel + p * size.shifted * size.in),
                size.shifted / 2);
    }
    for (int64_t i = 0; i < count; ++i) {
      grad_plane.fill(shape.out_height(), shape.out_width(), shape.out,
                      grad_out + (first + i) * shape.out_values(), filled + i * places * shape.out);
    }
    for (int64_t j = 0; j < size.out; j += kBlock) {
      pack_pairs(filled + j, shape.out, pixels, shape.out - j, grad_paired + j * depth, depth,
                 panel_width(size.out, j));
    }
    for (int64_t k = 0; k < depth; k += kAtOnce) {
      const int64_t some = depth - k < kAtOnce ? depth - k : kAtOnce;
      for (int64_t tap = 0; tap < shape.size * shape.size; ++tap) {
        const int64_t row = tap / shape.size, column = tap % shape.size;
        const int64_t plane = row % shape.stride * size.split.count + column % shape.stride;
        const int64_t shift = row / shape.stride * size.plane.pitch + column / shape.stride;
        const bf16* left = by_channel + plane * size.shifted * size.in + shift + k;
        for (int64_t j = 0; j < size.out; j += kBlock) {
          const int64_t width = panel_width(size.out, j);
          const auto product =
              first + k == 0 ? multiply_tiles<Sums::kNew> : multiply_tiles<Sums::kGoOn>;
          product(size.in, width, some, left, size.shifted, grad_paired + j * depth + k * width,
                  width, sums + tap * size.in * size.out + j, size.out);
        }
      }
    }
  }
}

void add_weight_sums(const ConvShape& shape, int64_t parts, const float* sums, int64_t channel,
                     float* grad) {
  const WeightSums layout = weight_sums(shape);
  float total[kMaxSize * kMaxSize][16];
  for (int64_t out = 0; out < shape.out; out += 16) {
    for (int64_t tap = 0; tap < layout.taps; ++tap) {
      const float* from = sums + (tap * layout.in + channel) * layout.out + out;
      __m512 sum = _mm512_loadu_ps(from);
      for (int64_t part = 1; part < parts; ++part) {
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(from + part * layout.size()));
      }
      _mm512_storeu_ps(total[tap], sum);
    }
    for (int64_t o = out; o < shape.out && o < out + 16; ++o) {
      float* to = grad + (o * shape.in + channel) * layout.taps;
      for (int64_t tap = 0; tap < layout.taps; ++tap) to[tap] = total[tap][o - out];
    }
  }
}

}  // namespace umbra::kernels
#endif
