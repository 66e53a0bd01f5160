#include "train/data/loader.h"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "augment/pipeline.h"
#include "augment/rng.h"
#include "train/error.h"

namespace umbra {
namespace {

using augment::Purpose;
using augment::Rng;
using Order = std::shared_ptr<const std::vector<int64_t>>;

// The orders of the epochs in work, each drawn once.
class Orders {
 public:
  Orders(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}

  Order of(int64_t epoch) {
    const std::lock_guard lock(mutex_);
    Order& order = orders_[epoch];
    if (!order) order = std::make_shared<std::vector<int64_t>>(epoch_order(size_, seed_, epoch));
    const Order found = order;
    while (orders_.size() > kKept) {
      const auto oldest = orders_.begin(), newest = std::prev(orders_.end());
      orders_.erase(oldest->first == epoch ? newest : oldest);
    }
    return found;
  }

 private:
  static constexpr size_t kKept = 3;

  const int64_t size_;
  const uint64_t seed_;
  std::mutex mutex_;
  std::map<int64_t, Order> orders_;
};

void copy_rows(const cv::Mat& view, uint8_t* out) {
  const size_t row = view.cols * view.elemSize();
  for (int y = 0; y < view.rows; ++y) std::memcpy(out + y * row, view.ptr(y), row);
}

}  // namespace

RawBatch RawBatch::slice(int64_t begin, int64_t end) const {
  const int64_t first = begin * views, last = end * views;
  const auto part = [&](const torch::Tensor& rows) { return rows.slice(0, first, last); };
  RawBatch result{part(images), part(labels), part(indices),    part(pretext_labels),
                  {},           views,        first_row + first};
  if (!draws.empty()) result.draws.assign(draws.begin() + first, draws.begin() + last);
  return result;
}

std::vector<int64_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  Rng rng({seed, Purpose::kShuffle, 0, static_cast<uint32_t>(epoch)});
  for (int64_t i = size - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
  return order;
}

// A batch is known by its position, counted from the first batch of epoch 0. Workers take
// positions in order, at most `prefetch` ahead of the caller; results wait in `ready_`.
struct Loader::State {
 public:
  State(std::shared_ptr<const Dataset> dataset, const augment::AugmentOptions& augment,
        const LoaderOptions& options)
      : dataset_(std::move(dataset)),
        augment_(augment),
        pipeline_(augment),
        options_(options),
        orders_(dataset_->size(), options.seed) {
    TORCH_CHECK(options.batch_size > 0, "batch_size must be positive");
    TORCH_CHECK(options.workers >= 0 && options.prefetch >= 0, "workers, prefetch: negative");
    const int64_t size = dataset_->size(), batch = options.batch_size;
    const bool drop_last = options.train && options.drop_last;
    batches_ = drop_last ? size / batch : (size + batch - 1) / batch;
    end_ = options.train ? std::numeric_limits<int64_t>::max() : batches_;
    if (batches_ == 0) {
      throw Error(
          fmt::format("data: got {} samples, wanted at least one {}. Give more samples, a "
                      "smaller batch size or data.drop_last = false",
                      size, drop_last ? fmt::format("batch of {}", batch) : "sample"));
    }
  }

  ~State() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      ++generation_;
    }
    work_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int64_t batches() const { return batches_; }

  std::vector<BrokenSample> take_broken() {
    const std::lock_guard lock(broken_mutex_);
    return std::exchange(broken_, {});
  }

  void seek(int64_t epoch, int64_t batch) {
    TORCH_CHECK(epoch >= 0 && batch >= 0 && batch <= batches_, "seek to batch ", batch,
                " of epoch ", epoch, ", which has ", batches_);
    const std::lock_guard lock(mutex_);
    ++generation_;
    ready_.clear();
    next_ = claimed_ = options_.train ? epoch * batches_ + batch : batch;
    work_.notify_all();
  }

  bool next(RawBatch& batch) {
    if (options_.workers == 0) {
      if (next_ >= end_) return false;
      batch = prepare(next_++, generation_);
      return true;
    }
    start_workers();
    std::unique_lock lock(mutex_);
    if (next_ >= end_) return false;
    done_.wait(lock, [&] { return ready_.contains(next_); });
    Outcome outcome = std::move(ready_.extract(next_).mapped());
    ++next_;
    lock.unlock();
    work_.notify_one();
    if (outcome.error) std::rethrow_exception(outcome.error);
    batch = std::move(outcome.batch);
    return true;
  }

 private:
  struct Outcome {
    RawBatch batch;
    std::exception_ptr error;
  };

  void start_workers() {
    if (!workers_.empty()) return;
    for (int64_t i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
  }

  bool may_claim() const {
    return claimed_ < end_ && claimed_ - next_ < std::max<int64_t>(options_.prefetch, 1);
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stopping_ || may_claim(); });
      if (stopping_) return;
      const int64_t position = claimed_++;
      const uint64_t generation = generation_;
      lock.unlock();
      Outcome outcome = attempt(position, generation);
      lock.lock();
      if (generation != generation_) continue;
      ready_.emplace(position, std::move(outcome));
      done_.notify_one();
    }
  }

  Outcome attempt(int64_t position, uint64_t generation) {
    try {
      return {prepare(position, generation), nullptr};
    } catch (...) {
      return {{}, std::current_exception()};
    }
  }

  // The rows of one sample, before they are laid into the batch.
  struct Sample {
    int64_t index = 0;
    std::vector<cv::Mat> views;
    std::vector<augment::ViewDraw> draws;  // training only
  };

  // Gives up, with an unfinished batch, when the generation is over.
  RawBatch prepare(int64_t position, uint64_t generation) {
    const int64_t epoch = position / batches_;
    const int64_t first = position % batches_ * options_.batch_size;
    const int64_t count = std::min(options_.batch_size, dataset_->size() - first);
    const Order order = options_.train ? orders_.of(epoch) : nullptr;
    RawBatch batch = empty_batch(count);
    int64_t samples = 0;
    for (int64_t i = 0; i < count && generation == generation_; ++i) {
      // Copies of repeated augmentation follow each other in the order of the epoch.
      const int64_t place = first + i, repeats = order ? augment_.repeats : 1;
      const int64_t index = order ? (*order)[place / repeats] : place;
      if (std::optional<Sample> sample = read(index, epoch, place % repeats)) {
        put(std::move(*sample), samples++, batch);
      }
    }
    if (samples < count) batch = batch.slice(0, samples);
    if (!options_.pin_memory) return batch;
    for (torch::Tensor* rows :
         {&batch.images, &batch.labels, &batch.indices, &batch.pretext_labels}) {
      *rows = rows->pin_memory();
    }
    return batch;
  }

  RawBatch empty_batch(int64_t samples) const {
    const int64_t views = options_.train ? augment_.views() : 1, rows = samples * views;
    const int64_t side = augment_.image_size;
    RawBatch batch;
    batch.images = at::empty({rows, side, side, dataset_->channels()}, at::kByte);
    for (torch::Tensor* labels : {&batch.labels, &batch.indices, &batch.pretext_labels}) {
      *labels = at::zeros({rows}, at::kLong);
    }
    batch.views = views;
    return batch;
  }

  void put(Sample&& sample, int64_t place, RawBatch& batch) const {
    const int64_t side = augment_.image_size, channels = dataset_->channels();
    for (int64_t v = 0; v < batch.views; ++v) {
      const int64_t row = place * batch.views + v;
      const cv::Mat& view = sample.views[v];
      TORCH_CHECK(view.rows == side && view.cols == side && view.channels() == channels, "sample ",
                  sample.index, ": a view of ", view.rows, " x ", view.cols, " x ", view.channels(),
                  " instead of ", side, " x ", side, " x ", channels);
      copy_rows(view, batch.images.data_ptr<uint8_t>() + row * side * side * channels);
      batch.labels.data_ptr<int64_t>()[row] = dataset_->label(sample.index);
      batch.indices.data_ptr<int64_t>()[row] = sample.index;
      if (sample.draws.empty()) continue;
      batch.pretext_labels.data_ptr<int64_t>()[row] = sample.draws[v].pretext_label;
      batch.draws.push_back(std::move(sample.draws[v]));
    }
  }

  // Nothing if the sample is broken, and skipped without another in its place.
  std::optional<Sample> read(int64_t index, int64_t epoch, int64_t repeat) {
    if (!options_.skip_broken) {
      try {
        return read_one(index, index, epoch, repeat);
      } catch (const augment::ImageError& error) {
        throw Error(fmt::format("{}: {}. Repair or remove it, or set data.on_broken = \"skip\"",
                                dataset_->name(index), error.what()));
      }
    }
    const int64_t tries = options_.train ? std::min(kBrokenInARow, dataset_->size()) : 1;
    const int64_t drawn = index;
    for (int64_t attempt = 0; attempt < tries; ++attempt) {
      index = (drawn + attempt) % dataset_->size();
      try {
        return read_one(index, drawn, epoch, repeat);
      } catch (const augment::ImageError& error) {
        note_broken(index, error);
      }
    }
    if (!options_.train) return std::nullopt;
    throw Error(
        fmt::format("{} samples in a row are broken, up to {}: check the data set with "
                    "umbra data info --check",
                    tries, dataset_->name(index)));
  }

  // `drawn` is the sample that the sampler drew, whose chance this is: one in the place of another
  // must not look as it does in its own. Throws what Dataset::open and LazyImage do.
  Sample read_one(int64_t index, int64_t drawn, int64_t epoch, int64_t repeat) const {
    const augment::LazyImage image = dataset_->open(index);
    Sample sample{index, {}, {}};
    if (!options_.train) {
      sample.views = {pipeline_.eval_view(image)};
      return sample;
    }
    sample.draws = pipeline_.draw({options_.seed, static_cast<uint64_t>(drawn),
                                   static_cast<uint32_t>(epoch), static_cast<uint32_t>(repeat)},
                                  image.width(), image.height());
    for (const augment::ViewDraw& draw : sample.draws) {
      sample.views.push_back(pipeline_.train_view(image, draw));
    }
    return sample;
  }

  void note_broken(int64_t index, const std::exception& error) {
    const std::lock_guard lock(broken_mutex_);
    if (known_broken_.insert(index).second) {
      broken_.push_back(broken_sample(*dataset_, index, error));
    }
  }

  static constexpr int64_t kBrokenInARow = 50;

  const std::shared_ptr<const Dataset> dataset_;
  const augment::AugmentOptions augment_;
  const augment::Pipeline pipeline_;
  const LoaderOptions options_;
  int64_t batches_ = 0;  // per epoch
  int64_t end_ = 0;      // the position where next() stops
  Orders orders_;

  std::mutex mutex_;
  std::condition_variable work_, done_;
  int64_t next_ = 0;                     // position the caller gets next
  int64_t claimed_ = 0;                  // position the next free worker takes
  std::atomic<uint64_t> generation_{0};  // a seek starts a new one; what is older is discarded
  bool stopping_ = false;
  std::map<int64_t, Outcome> ready_;
  std::vector<std::thread> workers_;

  std::mutex broken_mutex_;
  std::set<int64_t> known_broken_;
  std::vector<BrokenSample> broken_;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const augment::AugmentOptions& augment,
               const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(dataset), augment, options)) {}

Loader::~Loader() = default;

int64_t Loader::batches_per_epoch() const { return state_->batches(); }

void Loader::seek(int64_t epoch, int64_t batch) { state_->seek(epoch, batch); }

bool Loader::next(RawBatch& batch) { return state_->next(batch); }

std::vector<BrokenSample> Loader::take_broken() { return state_->take_broken(); }

}  // namespace umbra
