// Square convolutions of bf16 images on CPUs with AMX: kernels of 1 or 3, padded by half of that,
// stride 1 or 2. Images are channels-last: [height, width, channels]. Plain pointers and counts;
// cnn/fused.h gives them gradients, and calls nothing here where there are no tiles, as the linker
// may take the inline functions from a source compiled for AVX-512.
#pragma once

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {

struct ConvShape {
  int64_t height, width, in, out;  // of the input
  int64_t size = 3, stride = 1;

  int64_t out_height() const { return (height - 1) / stride + 1; }
  int64_t out_width() const { return (width - 1) / stride + 1; }
  int64_t in_values() const { return height * width * in; }
  int64_t out_values() const { return out_height() * out_width() * out; }
};

// From the input to the output, or from the gradient of the output to that of the input.
enum class Direction { kForward, kBackward };

// Weights [out, in, size, size] as the products want them: a block of 16 channels of the result at
// a time.
int64_t packed_weights_size(const ConvShape& shape, Direction direction);  // in bf16
int64_t weight_blocks(const ConvShape& shape, Direction direction);
void pack_weights(const ConvShape& shape, Direction direction, const float* weights, int64_t block,
                  bf16* packed);

// What is done to the sums before they are rounded: sum * scale + shift + residual, at least 0 with
// relu. Null pointers leave a part out; scale and shift come together.
struct Epilogue {
  const float *scale = nullptr, *shift = nullptr;  // of each channel
  const bf16* residual = nullptr;                  // like the output
  bool relu = false;
};

// Some images, each by itself: as many as images_at_once at most, so that small ones share the way
// of the weights through the cache. Scratch is aligned to 64 bytes; its sizes are in floats.
int64_t images_at_once(const ConvShape& shape);
int64_t conv_scratch(const ConvShape& shape, Direction direction);
void conv(const ConvShape& shape, Direction direction, int64_t images, const bf16* image,
          const bf16* packed, const Epilogue& epilogue, bf16* out, float* scratch);

// The gradient of the weights by `images` images, at least one: sums [size * size, padded in,
// padded out], taps by row and column.
struct WeightSums {
  int64_t taps, in, out;  // channels padded to 16
  int64_t size() const { return taps * in * out; }
};
WeightSums weight_sums(const ConvShape& shape);
int64_t weight_gradient_scratch(const ConvShape& shape);
void weight_gradient(const ConvShape& shape, int64_t images, const bf16* image,
                     const bf16* grad_out, float* sums, float* scratch);

// Adds up `parts` such sums, in their order, for one input channel: to grad [out, in, size, size].
void add_weight_sums(const ConvShape& shape, int64_t parts, const float* sums, int64_t channel,
                     float* grad);

}  // namespace umbra::kernels
