// 3 x 3 convolutions, stride 1, padding 1, of bf16 images on CPUs with AMX. Images are
// channels-last: [height, width, channels]. Plain pointers and counts; cnn/fused.h gives them
// gradients.
#pragma once

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {

struct ConvShape {
  int64_t height, width, in, out;
};

// The shape of the convolution that takes the gradient of the output to that of the input.
ConvShape backward_shape(const ConvShape& shape);

// Weights [out, in, 3, 3] as the products want them. `backward`: for the convolution that
// backward_shape tells; `shape` is the forward one all the same.
int64_t packed_weights_size(const ConvShape& shape, bool backward);  // in bf16
void pack_weights(const ConvShape& shape, bool backward, const float* weights, bf16* packed);

// What is done to the sums before they are rounded: sum * scale + shift + residual, at least 0 with
// relu. Null pointers leave a part out; scale and shift come together.
struct Epilogue {
  const float *scale = nullptr, *shift = nullptr;  // of each channel
  const bf16* residual = nullptr;                  // like the output
  bool relu = false;
};

// One image. Scratch is aligned to 64 bytes; its sizes are in floats.
int64_t conv_scratch(const ConvShape& shape);
void conv(const ConvShape& shape, const bf16* image, const bf16* packed, const Epilogue& epilogue,
          bf16* out, float* scratch);

// Adds the gradient of the weights by `images` images to sums [9, padded in, padded out], taps by
// row and column.
struct WeightSums {
  int64_t in, out;  // padded to 16
  int64_t size() const { return 9 * in * out; }
};
WeightSums weight_sums(const ConvShape& shape);
int64_t weight_gradient_scratch(const ConvShape& shape);
void weight_gradient(const ConvShape& shape, int64_t images, const bf16* image,
                     const bf16* grad_out, float* sums, float* scratch);

}  // namespace umbra::kernels
