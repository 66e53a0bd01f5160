#include "augment/rng.h"

#include <cmath>
#include <numbers>

namespace umbra::augment {
namespace {

uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

}  // namespace

Rng::Rng(const StreamKey& key) {
  const uint64_t purpose = (uint64_t{static_cast<uint32_t>(key.purpose)} << 32) | key.repeat;
  const uint64_t hashed = splitmix64(key.seed ^ splitmix64(purpose));
  key_[0] = static_cast<uint32_t>(hashed);
  key_[1] = static_cast<uint32_t>(hashed >> 32);
  counter_[0] = 0;
  counter_[1] = key.epoch;
  counter_[2] = static_cast<uint32_t>(key.index);
  counter_[3] = static_cast<uint32_t>(key.index >> 32);
}

uint32_t Rng::next() {
  if (used_ == 4) {
    philox4x32_10(counter_, key_, block_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

double Rng::uniform() {
  const uint64_t high = next() >> 5, low = next() >> 6;
  return static_cast<double>((high << 26) | low) * 0x1p-53;
}

double Rng::uniform(double low, double high) { return low + (high - low) * uniform(); }

int64_t Rng::below(int64_t n) {
  const uint64_t range = static_cast<uint64_t>(n);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % range;  // a multiple of range
  uint64_t value;
  do {
    const uint64_t high = next();
    value = (high << 32) | next();
  } while (value >= limit);
  return static_cast<int64_t>(value % range);
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double Rng::gamma(double shape) {
  if (shape < 1.0) {
    const double boost = std::pow(1.0 - uniform(), 1.0 / shape);
    return gamma(shape + 1.0) * boost;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal();
    const double v = std::pow(1.0 + c * x, 3);
    if (v > 0 && std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v))
      return d * v;
  }
}

double Rng::beta(double a, double b) {
  const double x = gamma(a), y = gamma(b);
  if (x + y == 0.0) return coin(a / (a + b)) ? 1.0 : 0.0;  // both underflow for tiny a, b
  return x / (x + y);
}

uint64_t seed_of(const StreamKey& key) {
  Rng rng(key);
  const uint64_t high = rng.next();
  return (high << 32) | rng.next();
}

}  // namespace umbra::augment
