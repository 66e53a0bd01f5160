#include "train/distill/logit_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "train/checksum.h"
#include "train/error.h"

namespace umbra {
namespace {

constexpr int64_t kChecksumBytes = 4;

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw Error(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

// Fills `bytes` from the file; false if it ends before that.
bool read_at(int file, int64_t offset, std::span<uint8_t> bytes,
             const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t got = pread(file, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path);
    if (got == 0) return false;
    offset += got;
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return true;
}

}  // namespace

LogitStore::LogitStore(std::filesystem::path folder, uint32_t identity, SparseForm form,
                       EpochShape shape)
    : folder_(std::move(folder)), identity_(identity), form_(form), shape_(shape) {
  TORCH_CHECK(shape.steps > 0 && shape.rows > 0 && shape.last_rows > 0, "an epoch of no rows");
}

LogitStore::~LogitStore() {
  if (file_ >= 0) close(file_);
}

std::filesystem::path LogitStore::path(int64_t epoch) const {
  return folder_ / fmt::format("epoch-{:05}.logits", epoch + 1);
}

int64_t LogitStore::record_bytes(int64_t step) const {
  return rows_of(step) * form_.row_bytes() + kChecksumBytes;
}

uint32_t LogitStore::checksum(int64_t epoch, int64_t step, std::span<const uint8_t> rows) const {
  return Checksum()
      .add(&identity_, sizeof identity_)
      .add(&epoch, sizeof epoch)
      .add(&step, sizeof step)
      .add(rows)
      .value();
}

std::optional<std::vector<uint8_t>> LogitStore::rows_in(int file, int64_t epoch,
                                                        int64_t step) const {
  std::vector<uint8_t> bytes(record_bytes(step));
  if (!read_at(file, offset(step), bytes, path(epoch))) return std::nullopt;
  uint32_t expected = 0;
  const size_t rows = bytes.size() - kChecksumBytes;
  std::memcpy(&expected, bytes.data() + rows, kChecksumBytes);
  bytes.resize(rows);
  if (checksum(epoch, step, bytes) != expected) return std::nullopt;
  return bytes;
}

bool LogitStore::has(int64_t epoch) const {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path(epoch), error);
  return !error && size == static_cast<uintmax_t>(file_bytes());
}

torch::Tensor LogitStore::read(int64_t epoch, int64_t step, int64_t first, int64_t rows) {
  TORCH_CHECK(step >= 0 && step < shape_.steps && first >= 0 && first + rows <= rows_of(step),
              "rows ", first, " to ", first + rows, " of step ", step, " of the epoch");
  if (epoch != open_epoch_) {
    if (file_ >= 0) close(file_);
    open_epoch_ = record_step_ = -1;
    file_ = open(path(epoch).c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) fail("read the teacher's cache", path(epoch));
    open_epoch_ = epoch;
  }
  if (step != record_step_) {
    auto record = rows_in(file_, epoch, step);
    record_step_ = record ? step : -1;
    if (record) record_ = std::move(*record);
  }
  if (record_step_ < 0) {
    throw Error(
        fmt::format("{}: the logits of step {} of the epoch are damaged, or of another cache: "
                    "umbra cache CONFIG "
                    "--epochs {} makes them and those after them anew",
                    path(epoch).string(), step + 1, epoch + 1));
  }
  const auto row_bytes = static_cast<size_t>(form_.row_bytes());
  return decode(form_, std::span(record_).subspan(static_cast<size_t>(first) * row_bytes,
                                                  static_cast<size_t>(rows) * row_bytes));
}

LogitStore::Writer::Writer(const LogitStore& store, int64_t epoch)
    : store_(store),
      epoch_(epoch),
      file_(open(store.path(epoch).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  if (file_ < 0) fail("write", store.path(epoch));
  try {
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) fail("lock", store.path(epoch));
      throw Error(fmt::format("another process writes {}: give each its own --epochs",
                              store.path(epoch).string()));
    }
    while (next_ < store_.shape_.steps && store_.rows_in(file_, epoch, next_)) ++next_;
    const int64_t intact = next_ < store_.shape_.steps ? store_.offset(next_) : store_.file_bytes();
    if (ftruncate(file_, intact) != 0) fail("write", store.path(epoch));
    lseek(file_, intact, SEEK_SET);
  } catch (...) {
    close(file_);
    throw;
  }
}

LogitStore::Writer::~Writer() { close(file_); }

void LogitStore::Writer::append(const torch::Tensor& logits) {
  TORCH_CHECK(next_ < store_.shape_.steps && logits.size(0) == store_.rows_of(next_), "step ",
              next_, " of ", store_.shape_.steps, ": got ", logits.size(0), " rows, wanted ",
              store_.rows_of(next_));
  std::vector<uint8_t> record = encode(store_.form_, logits);
  const uint32_t crc = store_.checksum(epoch_, next_, record);
  const auto* crc_bytes = reinterpret_cast<const uint8_t*>(&crc);
  record.insert(record.end(), crc_bytes, crc_bytes + kChecksumBytes);
  std::span<const uint8_t> left = record;
  while (!left.empty()) {
    const ssize_t written = write(file_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", store_.path(epoch_));
    left = left.subspan(static_cast<size_t>(written));
  }
  ++next_;
}

void LogitStore::Writer::sync() {
  if (fsync(file_) != 0) fail("write", store_.path(epoch_));
}

}  // namespace umbra
