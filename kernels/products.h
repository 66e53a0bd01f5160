// Products of bf16 matrices, and the layouts they want. A product C += A B takes A by rows, and B
// with two rows woven into one (pairs of bf16: "paired" below), and sums in fp32. All sizes here
// are padded: rows and columns to 16, sums to 32.
#pragma once

#include "kernels/vectors.h"

namespace umbra::kernels {
namespace {

constexpr int64_t kRows = 16, kDepth = 32;

inline int64_t padded(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

// --- in tiles, with AMX: 16 rows of 64 bytes each ----------------------------------------------

// A block of R x C tiles of sums, R and C 1 or 2, is in the tiles 0 to 3 while it is worked on.
// Strides are in bf16 for A, in pairs for B, in floats for the sums.
template <int R, int C>
struct Block {
  static void zero() {
    _tile_zero(0);
    if constexpr (C > 1) _tile_zero(1);
    if constexpr (R > 1) _tile_zero(2);
    if constexpr (R > 1 && C > 1) _tile_zero(3);
  }
  static void load(const float* c, int64_t ldc) {
    _tile_loadd(0, c, 4 * ldc);
    if constexpr (C > 1) _tile_loadd(1, c + kRows, 4 * ldc);
    if constexpr (R > 1) _tile_loadd(2, c + kRows * ldc, 4 * ldc);
    if constexpr (R > 1 && C > 1) _tile_loadd(3, c + kRows * ldc + kRows, 4 * ldc);
  }
  static void store(float* c, int64_t ldc) {
    _tile_stored(0, c, 4 * ldc);
    if constexpr (C > 1) _tile_stored(1, c + kRows, 4 * ldc);
    if constexpr (R > 1) _tile_stored(2, c + kRows * ldc, 4 * ldc);
    if constexpr (R > 1 && C > 1) _tile_stored(3, c + kRows * ldc + kRows, 4 * ldc);
  }
  // Adds A B.
  static void add(const bf16* a, int64_t lda, const bf16* b, int64_t ldb, int64_t depth) {
    for (int64_t k = 0; k < depth; k += kDepth) {
      const bf16* pairs = b + k * ldb;
      _tile_loadd(4, a + k, 2 * lda);
      if constexpr (R > 1) _tile_loadd(5, a + kRows * lda + k, 2 * lda);
      _tile_loadd(6, pairs, 4 * ldb);
      if constexpr (C > 1) _tile_loadd(7, pairs + 2 * kRows, 4 * ldb);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (C > 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (R > 1) _tile_dpbf16ps(2, 5, 6);
      if constexpr (R > 1 && C > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
};

// Calls work(block) with the block for what is left of the rows and columns.
template <typename Work>
inline void with_block(int64_t rows, int64_t columns, const Work& work) {
  const bool high = rows > kRows, wide = columns > kRows;
  if (high && wide) {
    work(Block<2, 2>());
  } else if (high) {
    work(Block<2, 1>());
  } else if (wide) {
    work(Block<1, 2>());
  } else {
    work(Block<1, 1>());
  }
}

// What GCC does not know: that tiles are loaded from memory.
inline void memory_is_read() { asm volatile("" ::: "memory"); }

enum class Sums { kNew, kGoOn };

// C [rows, columns] = A [rows, depth] B, or C += A B. B is paired: [depth / 2, columns, 2].
template <Sums kSums = Sums::kNew>
inline void multiply_tiles(int64_t rows, int64_t columns, int64_t depth, const bf16* a, int64_t lda,
                           const bf16* b, int64_t ldb, float* c, int64_t ldc) {
  memory_is_read();
  for (int64_t j = 0; j < columns; j += 2 * kRows) {
    for (int64_t i = 0; i < rows; i += 2 * kRows) {
      float* to = c + i * ldc + j;
      with_block(rows - i, columns - j, [&](auto block) {
        if constexpr (kSums == Sums::kNew) {
          block.zero();
        } else {
          block.load(to, ldc);
        }
        block.add(a + i * lda, lda, b + 2 * j, ldb, depth);
        block.store(to, ldc);
      });
    }
  }
}

// --- in registers, with AVX-512 ---

// C [8, 16 columns] = A [8, depth] B.
template <int kColumns>
inline void multiply_rows(int64_t depth, const bf16* a, int64_t lda, const bf16* b, int64_t ldb,
                          float* c, int64_t ldc) {
  constexpr int kHigh = 8;
  __m512 sums[kHigh][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kHigh; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) sums[i][j] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < depth; k += 2, b += 2 * ldb) {
    __m512bh pairs[kColumns];
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      pairs[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + j * 2 * kRows));
    }
#pragma GCC unroll 8
    for (int i = 0; i < kHigh; ++i) {
      int pair;
      __builtin_memcpy(&pair, a + i * lda + k, sizeof(pair));
      const auto same = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j) {
        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], same, pairs[j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kHigh; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) _mm512_storeu_ps(c + i * ldc + j * kRows, sums[i][j]);
  }
}

inline void multiply_registers(int64_t rows, int64_t columns, int64_t depth, const bf16* a,
                               int64_t lda, const bf16* b, int64_t ldb, float* c, int64_t ldc) {
  for (int64_t j = 0; j < columns; j += 2 * kRows) {
    const auto multiply_some = columns - j > kRows ? multiply_rows<2> : multiply_rows<1>;
    for (int64_t i = 0; i < rows; i += 8) {
      multiply_some(depth, a + i * lda, lda, b + 2 * j, ldb, c + i * ldc + j, ldc);
    }
  }
}

// --- in what there is ---------------------------------------------------------------------------

// C [rows, columns] = A [rows, depth] B. B is paired.
inline void multiply(int64_t rows, int64_t columns, int64_t depth, const bf16* a, int64_t lda,
                     const bf16* b, int64_t ldb, float* c, int64_t ldc) {
  const auto how = have_tiles() ? multiply_tiles<Sums::kNew> : multiply_registers;
  how(rows, columns, depth, a, lda, b, ldb, c, ldc);
}

// --- layouts ---

// Two rows of 32 bf16 woven into 32 pairs.
inline void weave(__m512i first, __m512i second, __m512i& low, __m512i& high) {
  alignas(64) static constexpr uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                    37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                    11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i at = _mm512_load_si512(kLow);
  low = _mm512_permutex2var_epi16(first, at, second);
  high = _mm512_permutex2var_epi16(first, _mm512_add_epi16(at, _mm512_set1_epi16(16)), second);
}

// Copies [rows, columns] into a padded [padded rows, padded columns]; zeros around it.
inline void pack_rows(const bf16* from, int64_t stride, int64_t rows, int64_t columns, bf16* to,
                      int64_t to_rows, int64_t to_columns) {
  for (int64_t i = 0; i < to_rows; ++i) {
    for (int64_t j = 0; j < to_columns; j += 32) {
      const __mmask32 lanes = i < rows ? lanes32(columns > j ? columns - j : 0) : 0;
      _mm512_storeu_si512(to + i * to_columns + j,
                          _mm512_maskz_loadu_epi16(lanes, from + i * stride + j));
    }
  }
}

// Pairs the rows of [rows, columns]: to [to_rows / 2, to_columns, 2]. to_columns is a multiple
// of 16.
inline void pack_pairs(const bf16* from, int64_t stride, int64_t rows, int64_t columns, bf16* to,
                       int64_t to_rows, int64_t to_columns) {
  for (int64_t i = 0; i < to_rows; i += 2) {
    for (int64_t j = 0; j < to_columns; j += 32) {
      const __mmask32 lanes = lanes32(columns > j ? columns - j : 0);
      const bf16* row = from + i * stride + j;
      const __m512i first = _mm512_maskz_loadu_epi16(i < rows ? lanes : 0, row);
      const __m512i second = _mm512_maskz_loadu_epi16(i + 1 < rows ? lanes : 0, row + stride);
      __m512i low, high;
      weave(first, second, low, high);
      bf16* out = to + (i / 2 * to_columns + j) * 2;
      _mm512_storeu_si512(out, low);
      if (to_columns - j > 16) _mm512_storeu_si512(out + 32, high);
    }
  }
}

// 16 x 16 values of 32 bits. Strides in values.
inline void transpose16(const uint32_t* from, int64_t stride, uint32_t* to, int64_t to_stride) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * stride);
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
    b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_storeu_si512(to + (i + 4) * to_stride, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
    _mm512_storeu_si512(to + (i + 8) * to_stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
    _mm512_storeu_si512(to + (i + 12) * to_stride, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd));
  }
}

// [rows, columns] to [columns, rows], values of 32 bits, both multiples of 16. As bf16 this pairs
// the columns of a matrix: A [m, k] becomes B = A^T, paired.
inline void transpose(const uint32_t* from, int64_t stride, int64_t rows, int64_t columns,
                      uint32_t* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; i += 16) {
    for (int64_t j = 0; j < columns; j += 16) {
      transpose16(from + i * stride + j, stride, to + j * to_stride + i, to_stride);
    }
  }
}

}  // namespace
}  // namespace umbra::kernels
