// The colour and filter operations of RandAugment and its relatives: pure functions, no chance
// inside, bytes equal to Pillow's (ImageOps, ImageEnhance, ImageFilter) on RGB and grey images.
// None changes its argument; a result may share the argument's pixels where nothing changes.
// All throw std::invalid_argument for other images and for arguments without a meaning.
#pragma once

#include <opencv2/core/mat.hpp>

namespace umbra::augment {

cv::Mat auto_contrast(const cv::Mat& image);  // each channel stretched to 0..255
cv::Mat equalize(const cv::Mat& image);       // histogram of each channel
cv::Mat invert(const cv::Mat& image);
cv::Mat posterize(const cv::Mat& image, int bits);  // keeps the top bits; 8 or more: all; 0: black
cv::Mat solarize(const cv::Mat& image, int threshold);  // inverts values >= threshold
cv::Mat solarize_add(const cv::Mat& image, int add, int threshold = 128);  // to values < threshold

// ImageEnhance: 0 gives the degenerate image, 1 the image itself, more exaggerates.
cv::Mat adjust_color(const cv::Mat& image, double factor);       // against grey; saturation
cv::Mat adjust_contrast(const cv::Mat& image, double factor);    // against the mean grey level
cv::Mat adjust_brightness(const cv::Mat& image, double factor);  // against black
cv::Mat adjust_sharpness(const cv::Mat& image, double factor);   // against a smoothed image

// torchvision's adjust_hue of a Pillow image: `shift` in [-0.5, 0.5] turns, through 8-bit HSV.
cv::Mat adjust_hue(const cv::Mat& image, double shift);

cv::Mat grayscale(const cv::Mat& image);  // ITU-R 601 luma in every channel

// ImageFilter.GaussianBlur: three box blurs per axis. `radius` in pixels, 0 to 10000.
cv::Mat gaussian_blur(const cv::Mat& image, double radius);

// torchvision's GaussianBlur of a Pillow image: a true Gaussian, borders reflected; kernel_size is
// odd, and half of it less than either side. torchvision sums floats in another order: about one
// byte in 100 000 rounds the other way.
cv::Mat gaussian_filter(const cv::Mat& image, int kernel_size, double sigma);

// Image.blend: a + alpha * (b - a), for images of one size.
cv::Mat blend(const cv::Mat& a, const cv::Mat& b, double alpha);

}  // namespace umbra::augment
