// Batches of 8-bit views, prepared by worker threads and handed out in order. What a batch holds
// is a pure function of (options, seed, epoch, position): neither the number of workers, nor the
// prefetch depth, nor a resume changes a bit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "augment/options.h"
#include "augment/view_draw.h"
#include "train/data/dataset.h"

namespace umbra {

// Order of one training epoch: a permutation of [0, size) drawn from (seed, epoch).
std::vector<int64_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch);

// R rows: `views` for each sample, one after the other.
struct RawBatch {
  torch::Tensor images;                  // uint8 [R, H, W, C]
  torch::Tensor labels;                  // int64 [R]
  torch::Tensor indices;                 // int64 [R], positions in the data set
  torch::Tensor pretext_labels;          // int64 [R], which rotation or permutation; 0 for others
  std::vector<augment::ViewDraw> draws;  // of every row; none for evaluation
  int64_t views = 1;
  int64_t first_row = 0;  // of a slice, in the whole batch

  int64_t rows() const { return labels.size(0); }
  int64_t samples() const { return rows() / views; }

  // The rows of samples begin to end - 1, sharing the tensors.
  RawBatch slice(int64_t begin, int64_t end) const;
};

struct LoaderOptions {
  int64_t batch_size = 256;  // samples
  bool train = true;      // training views and shuffled order; else evaluation view in file order
  bool drop_last = true;  // training only
  int64_t workers = 1;    // 0: batches are prepared by the caller's thread
  int64_t prefetch = 4;   // batches ready or in work at any time
  uint64_t seed = 0;
  bool pin_memory = false;  // page-locked batches, for copies to a GPU
  // A broken image is an error; or its place is taken by the next sample (training, as in timm) or
  // left empty (evaluation: the batch is smaller).
  bool skip_broken = false;
};

class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const augment::AugmentOptions& augment,
         const LoaderOptions& options);
  ~Loader();

  int64_t batches_per_epoch() const;

  // Positions the loader: the next call of next() returns batch `batch` of `epoch`. Training
  // loaders run on through epoch after epoch; evaluation loaders end after one pass.
  void seek(int64_t epoch, int64_t batch);

  // False when an evaluation pass is over. Rethrows what a worker met (a broken image, say).
  bool next(RawBatch& batch);

  // Broken samples met for the first time since the last call; with skip_broken.
  std::vector<BrokenSample> take_broken();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace umbra
