// Keyed random streams: every number drawn for a sample is a pure function of the key, so the
// number of workers, the prefetch depth and a resume change nothing.
#pragma once

#include <cstdint>

namespace umbra::augment {

// What a stream is for. Values are part of the random streams: never renumber.
enum class Purpose : uint32_t {
  kShuffle = 1,   // order of an epoch
  kSubset = 2,    // which samples a smaller training set keeps
  kSplit = 3,     // validation split
  kGeometry = 4,  // crop and flip
  kMix = 5,       // mixup, CutMix
  kModel = 6,     // drop-path, dropout
  kInit = 7,      // weight initialisation
  kPolicy = 8,    // auto_augment, colour jitter, greyscale, blur
  kErase = 9,     // random erasing
  kPretext = 10,  // SSKD's transformations
};

struct StreamKey {
  uint64_t seed = 0;  // run seed
  Purpose purpose = Purpose::kGeometry;
  uint64_t index = 0;  // sample index, or batch index for what is drawn per batch
  uint32_t epoch = 0;
  uint32_t repeat = 0;  // tells the copies of repeated augmentation apart
};

// Counter-based generator: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011). The key is a hash of (seed, purpose, repeat); the counter is
// (draw, epoch, index). Distributions are our own, so they do not depend on the standard library.
class Rng {
 public:
  explicit Rng(const StreamKey& key);

  uint32_t next();                          // 32 random bits
  double uniform();                         // [0, 1), 53 bits
  double uniform(double low, double high);  // [low, high)
  int64_t below(int64_t n);                 // uniform integer in [0, n), unbiased; n > 0
  bool coin(double probability) { return uniform() < probability; }
  double normal();                  // standard normal (Box-Muller)
  double gamma(double shape);       // Gamma(shape, 1) (Marsaglia and Tsang, 2000); shape > 0
  double beta(double a, double b);  // Beta(a, b)

 private:
  uint32_t key_[2];
  uint32_t counter_[4];
  uint32_t block_[4];
  int used_ = 4;
};

// One 64-bit seed from a key, for generators that are not ours (torch's).
uint64_t seed_of(const StreamKey& key);

}  // namespace umbra::augment
