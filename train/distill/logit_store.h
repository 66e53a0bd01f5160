// Sparse logits of the steps of a training run on disk, one file per epoch.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "train/distill/sparse_logits.h"

namespace umbra {

// What the steps of an epoch hold.
struct EpochShape {
  int64_t steps = 0;
  int64_t rows = 0;       // of a step
  int64_t last_rows = 0;  // of the last step
};

// `folder`/epoch-00001.logits and so on, named from 1 as in a run's log; epochs are counted from 0
// here. A file is one record after the other, one per step: its rows, and the CRC-32 of `identity`,
// epoch, step and rows. So a file that ends early is known to end there, and goes on from there;
// and a record of another cache, epoch or step is as good as damaged.
class LogitStore {
 public:
  LogitStore(std::filesystem::path folder, uint32_t identity, SparseForm form, EpochShape shape);
  ~LogitStore();
  LogitStore(const LogitStore&) = delete;
  LogitStore& operator=(const LogitStore&) = delete;

  const SparseForm& form() const { return form_; }
  const EpochShape& shape() const { return shape_; }

  // Whether a file of the full size is there. What it holds is checked when it is read.
  bool has(int64_t epoch) const;
  std::filesystem::path path(int64_t epoch) const;

  // [rows, classes] float32: `rows` of a step from `first` on. Throws umbra::Error, with the place
  // and what to do, if they are not there or damaged.
  torch::Tensor read(int64_t epoch, int64_t step, int64_t first, int64_t rows);

  // Appends to the file of an epoch. One writer per file: throws umbra::Error if another process
  // writes it.
  class Writer {
   public:
    Writer(const LogitStore& store, int64_t epoch);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // The step that comes next: those before it are there and intact, what came after the first
    // damaged one is cut off.
    int64_t next_step() const { return next_; }
    // logits [rows of the step, classes].
    void append(const torch::Tensor& logits);
    void sync();

   private:
    const LogitStore& store_;
    int64_t epoch_, next_ = 0;
    int file_;
  };

 private:
  int64_t rows_of(int64_t step) const {
    return step + 1 < shape_.steps ? shape_.rows : shape_.last_rows;
  }
  int64_t record_bytes(int64_t step) const;
  int64_t offset(int64_t step) const { return step * record_bytes(0); }
  int64_t file_bytes() const { return offset(shape_.steps - 1) + record_bytes(shape_.steps - 1); }
  uint32_t checksum(int64_t epoch, int64_t step, std::span<const uint8_t> rows) const;
  // The rows of a step in an open file; nothing if they are not whole.
  std::optional<std::vector<uint8_t>> rows_in(int file, int64_t epoch, int64_t step) const;

  std::filesystem::path folder_;
  uint32_t identity_;
  SparseForm form_;
  EpochShape shape_;
  int64_t open_epoch_ = -1;  // that file_ reads
  int file_ = -1;
  int64_t record_step_ = -1;  // of that epoch, whose rows these are
  std::vector<uint8_t> record_;
};

}  // namespace umbra
