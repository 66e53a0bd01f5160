#include "kernels/attention.h"

#ifdef UMBRA_KERNELS
#include "kernels/products.h"

namespace umbra::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;

// Sizes as the products want them.
struct Padded {
  int64_t rows, depth;         // tokens: as rows and columns, and to be summed over
  int64_t columns, dim_depth;  // of a head: as columns, and to be summed over

  explicit Padded(const AttentionShape& shape)
      : rows(padded(shape.tokens, kRows)),
        depth(padded(shape.tokens, kDepth)),
        columns(padded(shape.dim, kRows)),
        dim_depth(padded(shape.dim, kDepth)) {}
};

// Hands out parts of the scratch memory; with no memory it only counts.
class Arena {
 public:
  explicit Arena(float* memory) : memory_(memory) {}
  float* floats(int64_t count) {
    float* part = memory_ ? memory_ + used_ : nullptr;
    used_ += padded(count, 16);
    return part;
  }
  bf16* halves(int64_t count) { return reinterpret_cast<bf16*>(floats((count + 1) / 2)); }
  int64_t used() const { return used_; }

 private:
  float* memory_;
  int64_t used_ = 0;
};

// Queries that are worked on at a time.
constexpr int64_t kBlock = 2 * kRows;

struct ForwardScratch {
  bf16 *q, *k, *k_paired, *v_paired, *weights;
  float *scores, *sums;

  ForwardScratch(const Padded& size, Arena& arena)
      : q(arena.halves(padded(size.rows, kBlock) * size.dim_depth)),
        k(arena.halves(size.rows * size.dim_depth)),
        k_paired(arena.halves(size.rows * size.dim_depth)),
        v_paired(arena.halves(size.depth * size.columns)),
        weights(arena.halves(kBlock * size.depth)),
        scores(arena.floats(kBlock * size.rows)),
        sums(arena.floats(kBlock * size.columns)) {}
};

struct BackwardScratch {
  bf16 *rows, *k, *v, *q_by_dim, *grad_by_dim, *q_paired, *grad_paired, *k_paired, *k_by_token;
  bf16 *weights, *grad_scores, *grad_scores_paired;
  float *scores, *grad_weights, *product, *delta, *lse;

  BackwardScratch(const Padded& size, Arena& arena)
      : rows(arena.halves(size.rows * size.dim_depth)),
        k(arena.halves(size.rows * size.dim_depth)),
        v(arena.halves(size.rows * size.dim_depth)),
        q_by_dim(arena.halves(size.rows * size.dim_depth)),
        grad_by_dim(arena.halves(size.rows * size.dim_depth)),
        q_paired(arena.halves(size.depth * size.columns)),
        grad_paired(arena.halves(size.depth * size.columns)),
        k_paired(arena.halves(size.depth * size.columns)),
        k_by_token(arena.halves(size.depth * size.columns)),
        weights(arena.halves(size.rows * size.depth)),
        grad_scores(arena.halves(size.rows * size.depth)),
        grad_scores_paired(arena.halves(size.depth * size.rows)),
        scores(arena.floats(size.rows * (size.columns > kBlock ? size.columns : kBlock))),
        grad_weights(arena.floats(size.rows * kBlock)),
        product(arena.floats(size.rows * size.columns)),
        delta(arena.floats(size.rows)),
        lse(arena.floats(size.rows)) {}
};

uint32_t* as_pairs(bf16* values) { return reinterpret_cast<uint32_t*>(values); }

// One row of scores to unnormalised softmax weights; returns log2 of the sum, and 1 / sum.
float softmax_row(const float* scores, int64_t count, int64_t width, float to_log2, bf16* weights,
                  float& inverse) {
  __m512 top = _mm512_set1_ps(-__builtin_inff());
  for (int64_t j = 0; j < count; j += 16) {
    const __m512 s = _mm512_mask_loadu_ps(top, lanes16(count - j), scores + j);
    top = _mm512_max_ps(top, s);
  }
  const float shift = _mm512_reduce_max_ps(top) * to_log2;
  const __m512 factor = _mm512_set1_ps(to_log2), minus = _mm512_set1_ps(-shift);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < width; j += 16) {
    const __mmask16 lanes = lanes16(count > j ? count - j : 0);
    const __m512 s = _mm512_maskz_loadu_ps(lanes, scores + j);
    const __m512 p = _mm512_maskz_mov_ps(lanes, exp2(_mm512_fmadd_ps(s, factor, minus)));
    sum = _mm512_add_ps(sum, p);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + j), narrow(p));
  }
  const float total = _mm512_reduce_add_ps(sum);
  inverse = 1.0f / total;
  return shift + __builtin_log2f(total);
}

void store_rows(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float scale,
                bf16* to, int64_t stride) {
  const __m512 factor = _mm512_set1_ps(scale);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += 16) {
      const __m512 x = _mm512_loadu_ps(from + i * from_stride + j);
      store(to + i * stride + j, lanes16(columns - j), _mm512_mul_ps(x, factor));
    }
  }
}

}  // namespace

int64_t attention_forward_scratch(const AttentionShape& shape) {
  Arena arena(nullptr);
  ForwardScratch(Padded(shape), arena);
  return arena.used();
}

int64_t attention_backward_scratch(const AttentionShape& shape) {
  Arena arena(nullptr);
  BackwardScratch(Padded(shape), arena);
  return arena.used();
}

void attention_forward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                       bf16* out, float* lse, float* scratch) {
  const Padded size(shape);
  Arena arena(scratch);
  const ForwardScratch s(size, arena);
  const int64_t tokens = shape.tokens;
  pack_rows(q, shape.qkv_stride, tokens, shape.dim, s.q, padded(size.rows, kBlock), size.dim_depth);
  pack_rows(k, shape.qkv_stride, tokens, shape.dim, s.k, size.rows, size.dim_depth);
  transpose(as_pairs(s.k), size.dim_depth / 2, size.rows, size.dim_depth / 2, as_pairs(s.k_paired),
            size.rows);
  pack_pairs(v, shape.qkv_stride, tokens, shape.dim, s.v_paired, size.depth, size.columns);
  for (int64_t first = 0; first < tokens; first += kBlock) {
    const int64_t count = tokens - first < kBlock ? tokens - first : kBlock;
    const int64_t rows = padded(count, kRows);
    multiply(rows, size.rows, size.dim_depth, s.q + first * size.dim_depth, size.dim_depth,
             s.k_paired, size.rows, s.scores, size.rows);
    float inverse[kBlock];
    for (int64_t i = 0; i < count; ++i) {
      lse[first + i] = softmax_row(s.scores + i * size.rows, tokens, size.depth,
                                   shape.scale * kLog2E, s.weights + i * size.depth, inverse[i]);
    }
    multiply(rows, size.columns, size.depth, s.weights, size.depth, s.v_paired, size.columns,
             s.sums, size.columns);
    for (int64_t i = 0; i < count; ++i) {
      store_rows(s.sums + i * size.columns, size.columns, 1, shape.dim, inverse[i],
                 out + (first + i) * shape.stride, shape.stride);
    }
  }
}

// All products are taken transposed, [keys, queries], so that the weights come out as the left side
// that grad_v = weights^T grad_out and grad_k = grad_scores^T q want.
void attention_backward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                        const bf16* out, const float* lse, const bf16* grad_out, bf16* grad_q,
                        bf16* grad_k, bf16* grad_v, float* scratch) {
  const Padded size(shape);
  Arena arena(scratch);
  const BackwardScratch s(size, arena);
  const int64_t tokens = shape.tokens, dim = shape.dim, pairs = size.dim_depth / 2;
  const int64_t in = shape.qkv_stride, width = size.dim_depth;
  const auto by_dim = [&](const bf16* from, int64_t stride, bf16* to) {
    pack_rows(from, stride, tokens, dim, s.rows, size.rows, width);
    transpose(as_pairs(s.rows), pairs, size.rows, pairs, as_pairs(to), size.rows);
  };
  by_dim(q, in, s.q_by_dim);
  by_dim(grad_out, shape.stride, s.grad_by_dim);
  pack_rows(k, in, tokens, dim, s.k, size.rows, width);
  pack_rows(v, in, tokens, dim, s.v, size.rows, width);
  pack_pairs(q, in, tokens, dim, s.q_paired, size.depth, size.columns);
  pack_pairs(grad_out, shape.stride, tokens, dim, s.grad_paired, size.depth, size.columns);
  pack_pairs(k, in, tokens, dim, s.k_paired, size.depth, size.columns);
  transpose(as_pairs(s.k_paired), size.columns, size.depth / 2, size.columns,
            as_pairs(s.k_by_token), size.depth / 2);
  for (int64_t i = 0; i < size.rows; ++i) {
    s.delta[i] = s.lse[i] = 0.0f;
    if (i >= tokens) continue;
    s.lse[i] = lse[i];
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      const int64_t at = i * shape.stride + j;
      sum = _mm512_fmadd_ps(load(out + at, lanes), load(grad_out + at, lanes), sum);
    }
    s.delta[i] = _mm512_reduce_add_ps(sum);
  }

  const __m512 to_log2 = _mm512_set1_ps(shape.scale * kLog2E);
  for (int64_t first = 0; first < size.rows; first += kBlock) {
    const int64_t count = size.rows - first < kBlock ? size.rows - first : kBlock;
    multiply(size.rows, count, width, s.k, width, s.q_by_dim + 2 * first, size.rows, s.scores,
             kBlock);
    multiply(size.rows, count, width, s.v, width, s.grad_by_dim + 2 * first, size.rows,
             s.grad_weights, kBlock);
    for (int64_t column = 0; column < count; column += 16) {
      const __m512 shift = _mm512_loadu_ps(s.lse + first + column);
      const __m512 delta = _mm512_loadu_ps(s.delta + first + column);
      for (int64_t i = 0; i < size.rows; i += 2) {
        __m512 p[2], g[2];
        for (int r = 0; r < 2; ++r) {
          // What pads the keys must count as zero: its weight may be too large for a number.
          const __mmask16 real = i + r < tokens ? 0xffff : 0;
          const int64_t at = (i + r) * kBlock + column;
          p[r] = _mm512_maskz_mov_ps(
              real, exp2(_mm512_fmsub_ps(_mm512_loadu_ps(s.scores + at), to_log2, shift)));
          g[r] = _mm512_maskz_mul_ps(real, p[r],
                                     _mm512_sub_ps(_mm512_loadu_ps(s.grad_weights + at), delta));
          const int64_t to = (i + r) * size.depth + first + column;
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.weights + to), narrow(p[r]));
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.grad_scores + to), narrow(g[r]));
        }
        __m512i low, high;
        weave(_mm512_castsi256_si512(narrow(g[0])), _mm512_castsi256_si512(narrow(g[1])), low,
              high);
        _mm512_storeu_si512(s.grad_scores_paired + (i / 2 * size.rows + first + column) * 2, low);
      }
    }
  }
  // What lies between the padded rows and the padded depth counts as zero.
  const __m256i zero = _mm256_setzero_si256();
  for (int64_t i = 0; size.depth > size.rows && i < size.rows; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.weights + i * size.depth + size.rows), zero);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.grad_scores + i * size.depth + size.rows),
                        zero);
  }
  for (int64_t i = size.rows * size.rows; i < size.depth * size.rows; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.grad_scores_paired + i), zero);
  }

  multiply(size.rows, size.columns, size.depth, s.weights, size.depth, s.grad_paired, size.columns,
           s.product, size.columns);
  store_rows(s.product, size.columns, tokens, dim, 1.0f, grad_v, in);
  multiply(size.rows, size.columns, size.depth, s.grad_scores, size.depth, s.q_paired, size.columns,
           s.product, size.columns);
  store_rows(s.product, size.columns, tokens, dim, shape.scale, grad_k, in);
  // grad_q^T = k^T grad_scores^T
  multiply(size.columns, size.rows, size.depth, s.k_by_token, size.depth, s.grad_scores_paired,
           size.rows, s.product, size.rows);
  float* by_token = s.scores;  // [rows, columns]
  transpose(reinterpret_cast<const uint32_t*>(s.product), size.rows, size.columns, size.rows,
            reinterpret_cast<uint32_t*>(by_token), size.columns);
  store_rows(by_token, size.columns, tokens, dim, shape.scale, grad_q, in);
}

}  // namespace umbra::kernels
#endif
