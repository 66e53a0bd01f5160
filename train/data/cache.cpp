#include <algorithm>
#include <atomic>
#include <utility>

#include "train/data/dataset.h"
#include "train/error.h"

namespace umbra {
namespace {

constexpr int64_t kProbes = 64;

// Each image has a slot, set once: a read of what is there takes no lock.
class CachedDataset : public Dataset {
 public:
  CachedDataset(std::shared_ptr<const Dataset> whole, int64_t budget)
      : whole_(std::move(whole)), slots_(whole_->size()), left_(budget) {}

  ~CachedDataset() override {
    for (const auto& slot : slots_) delete slot.load();
  }

  int64_t size() const override { return whole_->size(); }
  int64_t channels() const override { return whole_->channels(); }
  const std::vector<std::string>& class_names() const override { return whole_->class_names(); }
  int64_t label(int64_t index) const override { return whole_->label(index); }
  std::string name(int64_t index) const override { return whole_->name(index); }

  augment::LazyImage open(int64_t index) const override {
    auto& slot = slots_.at(index);
    if (const cv::Mat* kept = slot.load(std::memory_order_acquire)) {
      return augment::LazyImage(*kept);
    }
    const cv::Mat pixels = whole_->open(index).pixels();
    keep(slot, pixels);
    return augment::LazyImage(pixels);
  }

 private:
  using Slot = std::atomic<const cv::Mat*>;

  // Keeps nothing if the budget is spent, or another thread was faster.
  void keep(Slot& slot, const cv::Mat& pixels) const {
    const auto bytes = static_cast<int64_t>(pixels.total() * pixels.elemSize());
    if (left_.fetch_sub(bytes) >= bytes) {
      auto mine = std::make_unique<const cv::Mat>(pixels);
      const cv::Mat* none = nullptr;
      if (slot.compare_exchange_strong(none, mine.get(), std::memory_order_acq_rel)) {
        static_cast<void>(mine.release());
        return;
      }
    }
    left_.fetch_add(bytes);
  }

  std::shared_ptr<const Dataset> whole_;
  mutable std::vector<Slot> slots_;
  mutable std::atomic<int64_t> left_;  // of the budget, bytes
};

// The mean size of the images when decoded, by the headers of some; 0 if they are decoded already.
double decoded_bytes(const Dataset& dataset) {
  const int64_t probes = std::min(kProbes, dataset.size());
  int64_t bytes = 0, counted = 0;
  for (int64_t i = 0; i < probes; ++i) {
    try {
      const augment::LazyImage image = dataset.open(i * dataset.size() / probes);
      if (image.file().empty()) return 0;
      bytes += int64_t{image.width()} * image.height() * dataset.channels();
      ++counted;
    } catch (const augment::ImageError&) {  // broken: whoever needs the image will say so
    } catch (const Error&) {
    }
  }
  return counted == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(counted);
}

}  // namespace

std::shared_ptr<const Dataset> keep_in_memory(std::shared_ptr<const Dataset> dataset,
                                              int64_t budget_bytes) {
  if (budget_bytes <= 0) return dataset;
  const double total = decoded_bytes(*dataset) * static_cast<double>(dataset->size());
  if (total == 0 || total > static_cast<double>(budget_bytes)) return dataset;
  return std::make_shared<CachedDataset>(std::move(dataset), budget_bytes);
}

}  // namespace umbra
