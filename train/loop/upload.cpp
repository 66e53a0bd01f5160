#include "train/loop/upload.h"

#include <c10/core/StreamGuard.h>

namespace umbra {
namespace {

constexpr size_t kAhead = 2;  // batches

}  // namespace

Upload::Upload(torch::Device device) : device_(device) {
  if (device.is_cpu()) return;
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

RawBatch Upload::operator()(RawBatch batch) {
  if (!stream_) return batch;
  const c10::Stream work = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  begun_.emplace_back(device_.type()).record(work);
  if (begun_.size() > kAhead) {
    begun_.front().synchronize();
    begun_.pop_front();
  }
  const auto moved = {&batch.images, &batch.labels, &batch.pretext_labels};
  {
    const c10::StreamGuard beside(*stream_);
    for (torch::Tensor* rows : moved) *rows = rows->to(device_, /*non_blocking=*/true);
  }
  c10::Event copied(device_.type());
  copied.record(*stream_);
  copied.block(work);
  // Their memory belongs to the stream of the copies, which must not reuse it during the work.
  for (torch::Tensor* rows : moved) rows->record_stream(work);
  return batch;
}

}  // namespace umbra
