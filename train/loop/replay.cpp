#include "train/loop/replay.h"

#include <fmt/format.h>

#include "train/error.h"

#ifdef UMBRA_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/StreamGuard.h>
#include <torch/cuda.h>
#endif

namespace umbra {
namespace {

constexpr int kWarmUp = 3;  // batches

class Repeat : public Recording {
 public:
  explicit Repeat(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

#ifdef UMBRA_CUDA
class CudaRecording : public Recording {
 public:
  CudaRecording(torch::Device device, const std::function<void()>& work) {
    // Recordings share stream and memory: their replays follow each other, and what they give is
    // copied before the next.
    static const c10::Stream stream =
        c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    static const at::MempoolId_t pool = at::cuda::graph_pool_handle();
    const c10::StreamGuard beside(stream);
    c10::cuda::CUDACachingAllocator::emptyCache();  // of the batches before
    // Only this thread's calls count: the loader's threads go on pinning memory meanwhile.
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      abandon();
      throw;
    }
    graph_.capture_end();
  }
  void replay() override { graph_.replay(); }

 private:
  // After an error the capture is broken, and ending it tells so again.
  void abandon() {
    try {
      graph_.capture_end();
    } catch (const c10::Error&) {
    }
  }

  at::cuda::CUDAGraph graph_;
};
#endif

// Its tensors on the device: what a recording knows of the rest stays the first batch's.
std::vector<torch::Tensor*> inputs_of(Batch& batch) {
  std::vector<torch::Tensor*> inputs = {&batch.images, &batch.labels, &batch.targets,
                                        &batch.pretext_labels};
  for (torch::Tensor& logits : batch.cached_logits) {
    if (logits.defined()) inputs.push_back(&logits);
  }
  return inputs;
}

Batch copy_of(Batch batch) {
  for (torch::Tensor* input : inputs_of(batch)) *input = input->clone();
  return batch;
}

void copy_into(Batch& to, Batch from) {
  const std::vector<torch::Tensor*> inputs = inputs_of(to), values = inputs_of(from);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i]->copy_(*values[i]);
}

// The next replay overwrites the lesson itself.
Lesson copy_of(const Lesson& lesson) {
  Lesson copy = lesson;
  copy.loss.total = copy.loss.total.clone();
  for (std::vector<LossTerm>* terms : {&copy.loss.terms, &copy.loss.facts}) {
    for (LossTerm& term : *terms) term.value = term.value.clone();
  }
  if (copy.agreement.defined()) copy.agreement = copy.agreement.clone();
  return copy;
}

}  // namespace

bool can_record(torch::Device device) {
#ifdef UMBRA_CUDA
  return device.is_cuda() || device.is_cpu();
#else
  return device.is_cpu();
#endif
}

std::unique_ptr<Recording> record(torch::Device device, std::function<void()> work) {
  if (!can_record(device)) {
    throw Error("run.cuda_graph = true, but this build found no headers of CUDA: leave it out");
  }
#ifdef UMBRA_CUDA
  if (device.is_cuda()) {
    torch::cuda::synchronize(device.index());
    try {
      return std::make_unique<CudaRecording>(device, work);
    } catch (const std::exception& error) {  // of a TorchScript's teacher, too
      throw Error(fmt::format(
          "run.cuda_graph: recording failed; go on without it (a run: with --resume): {}",
          error.what()));
    }
  }
#endif
  return std::make_unique<Repeat>(std::move(work));
}

Lesson StepReplay::run(const Batch& batch, const Kind& kind, const Work& work) {
  Entry& entry = entries_[kind];
  if (entry.batches < kWarmUp) {
    ++entry.batches;
    return work(batch);
  }
  if (!entry.recording) {
    entry.input = copy_of(batch);
    entry.recording = record(device_, [&entry, work] { entry.output = work(entry.input); });
  } else {
    copy_into(entry.input, batch);
  }
  entry.recording->replay();
  return copy_of(entry.output);
}

}  // namespace umbra
