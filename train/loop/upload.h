// Copies batches to a GPU beside its work, on a stream of their own.
#pragma once

#include <deque>
#include <optional>

#include <c10/core/Event.h>

#include "train/data/loader.h"

namespace umbra {

class Upload {
 public:
  explicit Upload(torch::Device device);

  // The batch with images and labels on the device, for work of the current stream, which does not
  // begin before they are there; indices stay on the host. The host does not wait for the copy,
  // only for the GPU to be at most two batches behind: their memory is all in use. On a CPU it is
  // the batch as it was.
  RawBatch operator()(RawBatch batch);

 private:
  torch::Device device_;
  std::optional<c10::Stream> stream_;  // of the copies; none on a CPU
  std::deque<c10::Event> begun_;       // the newest batches: when work had come to them
};

}  // namespace umbra
