// What the fuzzers feed: each takes any bytes, and must not crash, hang or read out of bounds.
#pragma once

#include <cstdint>
#include <span>

namespace umbra::test {

void fuzz_decode(std::span<const uint8_t> bytes);
void fuzz_tar(std::span<const uint8_t> bytes);
void fuzz_idx(std::span<const uint8_t> bytes);
void fuzz_cifar(std::span<const uint8_t> bytes);
void fuzz_stl10(std::span<const uint8_t> bytes);
void fuzz_policy(std::span<const uint8_t> bytes);
void fuzz_pth(std::span<const uint8_t> bytes);
void fuzz_safetensors(std::span<const uint8_t> bytes);

}  // namespace umbra::test
