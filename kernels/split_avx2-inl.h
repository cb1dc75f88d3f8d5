// Integer products on AVX2 of rows that were split: the fast form of gemm_s8, used by avx2.cpp alone.
//
// vpmaddubsw multiplies unsigned bytes by signed ones and adds pairs to int16, saturating. Weights become unsigned by
// adding 128 (a flip of the top bit) and take up all of 0..255; activations stay signed. As an int16 holds 255 * 128,
// everything that is added up in one 16-bit lane stays exact as long as the positive activations there sum up to at
// most 128, and the negative ones to at least -128. Activations of a row are far smaller than its largest, so most
// sets of four fulfil that as they are, which pays for two pairs in a lane before they are widened:
//
//   vpmaddubsw  t = (w + 128) a, pairs of step i       16 outputs by 8 inputs take
//   vpmaddubsw  u = the same of step i + 1             10 operations for 128 multiply-accumulates,
//   vpaddw      t + u                                  where avx2.cpp's chain for any row takes 16
//   vpmaddwd    by ones, pairs to int32
//   vpaddd      into the accumulator
//
// Where a set of four has more, split_rows takes the excess out of the row and keeps it beside the row: words of four
// bytes with the step that they belong to, any two of which fulfil the same. With an activation q = c + e, what
// stays and the excess,
//   sum q w = sum c (w + 128) + sum e (w + 128) - 128 sum q,   exactly,
// and the last is the accumulators' start, a row. The first tile of a panel keeps w + 128, for its own excess and for
// the tiles that follow.
#ifndef OCTOBERT_KERNELS_SPLIT_AVX2_INL_H_
#define OCTOBERT_KERNELS_SPLIT_AVX2_INL_H_

#include "kernels/gemm-inl.h"

namespace octobert {
namespace {

alignas(32) constexpr int16_t kOnes16[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
alignas(32) constexpr uint32_t kTopBits[8] = {0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u,
                                              0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u};

// ---- taking rows apart ----

constexpr int kLaneBudget = 128;  // of one sign in a lane: 255 * 128 < 2^15
constexpr int kWordBudget = 64;   // of one sign in each lane of a word of excess: any two share a lane's budget
static_assert(2 * kWordBudget <= kLaneBudget);

// What was taken out of a row, as words of 4 int8, and for each the place of its step (4 inputs) in a panel's bytes.
struct SplitRow {
  int32_t sum;    // of the row's activations less their zero point
  int32_t words;  // in use; a 0 follows, if they are odd
  uint32_t* word() { return reinterpret_cast<uint32_t*>(this + 1); }
  uint32_t* offset(int k) { return word() + split_row_words(k); }
};
static_assert(sizeof(SplitRow) == kSplitRowHead && sizeof(uint32_t[2]) == kSplitRowWord);

inline SplitRow* split_row(void* splits, int k, int row) {
  return reinterpret_cast<SplitRow*>(static_cast<char*>(splits) + static_cast<size_t>(row) * split_row_bytes(k));
}

// For each set of 8 words, as bits, the numbers of its members in order.
struct Orders {
  uint8_t of[256][8];
};
constexpr Orders kOrders = [] {
  Orders orders = {};
  for (int set = 0; set < 256; ++set) {
    for (int word = 0, count = 0; word < 8; ++word) {
      if ((set >> word & 1) != 0) orders.of[set][count++] = static_cast<uint8_t>(word);
    }
  }
  return orders;
}();

// Writes a row's words.
class WordWriter {
 public:
  WordWriter(SplitRow* row, int k) : word_(row->word()), offset_(row->offset(k)) {}
  // Those of the 8 words of inputs k to k + 31 that are not 0. Writes 8 in any case.
  void append(__m256i words, size_t k) {
    const __m256i zeros = _mm256_cmpeq_epi32(words, _mm256_setzero_si256());
    const auto set = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(zeros))) ^ 255;
    const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(kOrders.of[set])));
    const __m256i offsets = _mm256_add_epi32(_mm256_setr_epi32(0, 64, 128, 192, 256, 320, 384, 448),
                                             _mm256_set1_epi32(static_cast<int32_t>(k * 16)));
    store(word_ + words_, _mm256_permutevar8x32_epi32(words, order));
    store(offset_ + words_, _mm256_permutevar8x32_epi32(offsets, order));
    words_ += __builtin_popcount(set);
  }
  int words() const { return words_; }

 private:
  static void store(uint32_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  uint32_t *word_, *offset_;
  int words_ = 0;
};

// The magnitudes of one sign, as unsigned bytes, and of each pair of them, in 16 bits, how much is to become words.
struct Excess {
  __m256i bytes, of_pair;

  // As much of it as a word may have.
  __m256i take() {
    const __m256i now = _mm256_min_epi16(of_pair, _mm256_set1_epi16(kWordBudget));
    const __m256i first = _mm256_min_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16(255)), now);
    const __m256i taken = _mm256_or_si256(first, _mm256_slli_epi16(_mm256_sub_epi16(now, first), 8));
    bytes = _mm256_sub_epi8(bytes, taken);
    of_pair = _mm256_sub_epi16(of_pair, now);
    return taken;
  }
};

inline __m256i sums_of_pairs(__m256i bytes) { return _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)); }

inline Excess all_of(__m256i bytes) { return {bytes, sums_of_pairs(bytes)}; }

// What is above the budget of a lane, the pairs x[0, 1] and x[4, 5], or x[2, 3] and x[6, 7], of 8 inputs: as much as
// there is of the first pair, of the second what it alone has above.
inline Excess above_budget(__m256i bytes) {
  const __m256i pairs = sums_of_pairs(bytes);
  const __m256i lanes = _mm256_add_epi16(pairs, _mm256_srli_epi64(pairs, 32));  // the second pair: itself alone
  return {bytes, _mm256_min_epi16(_mm256_subs_epu16(lanes, _mm256_set1_epi16(kLaneBudget)), pairs)};
}

inline bool any(const Excess& positive, const Excess& negative) {
  const __m256i left = _mm256_or_si256(positive.of_pair, negative.of_pair);
  return _mm256_testz_si256(left, left) == 0;
}

// Writes what is too much of the inputs from k on, which is something, as words; returns their sum.
inline __m256i write_excess(Excess positive, Excess negative, size_t k, WordWriter& writer) {
  __m256i all = _mm256_setzero_si256();
  do {
    const __m256i taken = _mm256_sub_epi8(positive.take(), negative.take());
    writer.append(taken, k);
    all = _mm256_add_epi8(all, taken);
  } while (any(positive, negative));
  return all;
}

// 32 inputs from k on.
inline __m256i split_vector(__m256i given, size_t k, int32_t zero_point, WordWriter& writer) {
  const auto above_zero = [](__m256i x) { return _mm256_max_epi8(x, _mm256_setzero_si256()); };
  const auto below_zero = [=](__m256i x) { return _mm256_sub_epi8(_mm256_abs_epi8(x), above_zero(x)); };
  __m256i x = given;
  if (zero_point != 0) {
    const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_point));
    x = _mm256_subs_epi8(given, zero);
    const __m256i lacking = _mm256_sub_epi8(_mm256_sub_epi8(given, zero), x);  // -127..127 of what saturated
    const Excess positive = all_of(above_zero(lacking)), negative = all_of(below_zero(lacking));
    if (any(positive, negative)) write_excess(positive, negative, k, writer);
  }
  const Excess positive = above_budget(above_zero(x)), negative = above_budget(below_zero(x));
  return any(positive, negative) ? _mm256_sub_epi8(x, write_excess(positive, negative, k, writer)) : x;
}

// Splits a row unless that takes more than `most` words: then it stops. Returns the bytes that it changed.
inline size_t split_whole_row(char* a, int k, int32_t zero_point, SplitRow* row, int most) {
  WordWriter writer(row, k);
  __m256i total = _mm256_setzero_si256();
  size_t at = 0;
  for (; at < static_cast<size_t>(k) && writer.words() <= most; at += 32) {
    __m256i* const vector = reinterpret_cast<__m256i*>(a + at);
    const __m256i given = _mm256_load_si256(vector);
    _mm256_store_si256(vector, split_vector(given, at, zero_point, writer));
    total = _mm256_add_epi32(total,
                             _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), given), _mm256_set1_epi16(1)));
  }
  alignas(32) int32_t sums[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(sums), total);
  row->sum = -zero_point * static_cast<int32_t>(at);
  for (const int32_t s : sums) row->sum += s;
  row->words = writer.words();
  if (row->words <= most) row->word()[row->words] = row->offset(k)[row->words] = 0;
  return at;
}

// Puts the first `split` bytes of a row together again: bytes wrap to what they were.
inline void join_row(char* a, int k, size_t split, int32_t zero_point, SplitRow* row) {
  for (int i = 0; i < row->words; ++i) {
    char* at = a + row->offset(k)[i] / 16;
    for (int j = 0; j < 4; ++j) at[j] = static_cast<char>(at[j] + static_cast<int>(row->word()[i] >> (8 * j) & 255));
  }
  for (size_t i = 0; i < split; ++i) a[i] = static_cast<char>(a[i] + zero_point);
}

// The first `rows` rows.
inline void join_rows(const SplitRowsArgs& g, int rows) {
  for (int m = 0; m < rows; ++m) {
    join_row(reinterpret_cast<char*>(g.a) + static_cast<size_t>(m) * g.lda, g.k, static_cast<size_t>(g.k), g.zero_point,
             split_row(g.splits, g.k, m));
  }
}
inline void join_rows(const SplitRowsArgs& g) { join_rows(g, g.m); }

// A word costs as much as a step of the loop, of which a row of k inputs has k / 4: with k / 16 words, splitting wins a
// few percent still. That is for all rows together: a row may have twice as many, which is what its room is for.
constexpr int kInputsPerWord = 16;
static_assert(kInputsPerWord >= 2 * kInputsPerSplitWord);
// A pair has 256 of one sign at most, whether it saturated or is above the budget: no more than 4 times 8 words of
// each.
static_assert(kSplitWordsOfVector >= 2 * 256 / kWordBudget * 8);

inline bool split_rows(const SplitRowsArgs& g) {
  const auto k = static_cast<size_t>(g.k);
  const auto bytes_of = [&](int m) { return reinterpret_cast<char*>(g.a) + static_cast<size_t>(m) * g.lda; };
  int left = g.m * (g.k / kInputsPerWord);
  for (int m = 0; m < g.m; ++m) {
    memset(bytes_of(m) + k, g.zero_point, activation_stride(k) - k);  // becomes 0: a step may read past K
    SplitRow* row = split_row(g.splits, g.k, m);
    const int limit = 2 * g.k / kInputsPerWord, most = left < limit ? left : limit;
    const size_t changed = split_whole_row(bytes_of(m), g.k, g.zero_point, row, most);
    if (row->words > most) {
      join_row(bytes_of(m), g.k, changed, g.zero_point, row);
      join_rows(g, m);
      return false;
    }
    left -= row->words;
  }
  return true;
}

// ---- products ----

// The sums of one panel: their start, and what the words add. That comes last: by then the kept weights are in L1, if
// they fit (of 1536 inputs they do beside the rows), wherever in the panel they lie.
struct SplitEpilogue : GemmS8Epilogue {
  SplitEpilogue(const GemmS8Args& g, int row, int panel, const int32_t* start_of_panels, Block block)
      : GemmS8Epilogue(g, row, panel, start_of_panels, block),
        splits(split_row(g.splits, g.k, row)),
        kept(static_cast<char*>(g.kept)),
        keeps_weights(row == 0),
        k(g.k) {}

  template <class Op>
  static void start_panels(const GemmS8Args&, int, int, int32_t*) {}
  I init(int r, int) const { return Vec::set_i(-128 * split_row(splits, k, r)->sum); }
  // Of two words.
  I products(const uint32_t* word, const uint32_t* offset) const {
    const I w0 = Vec::load_i(kept + offset[0]), w1 = Vec::load_i(kept + offset[1]);
    const __m256i e0 = _mm256_set1_epi32(static_cast<int32_t>(word[0]));
    const __m256i e1 = _mm256_set1_epi32(static_cast<int32_t>(word[1]));
    const auto sums = [&](__m256i x, __m256i y) {
      return _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(x, e0), _mm256_maddubs_epi16(y, e1)),
                               _mm256_set1_epi16(1));
    };
    return {sums(w0.low, w1.low), sums(w0.high, w1.high)};
  }
  // A loop for each row: one for all, as long as the longest list, was 3 to 5 % slower.
  I add_words(int r, I sums) const {
    SplitRow* row = split_row(splits, k, r);
    const uint32_t *word = row->word(), *offset = row->offset(k);
    for (const uint32_t* end = word + row->words; word < end; word += 2, offset += 2) {
      sums = Vec::add_i(sums, products(word, offset));
    }
    return sums;
  }

  void* splits;
  char* kept;          // a panel's weights + 128
  bool keeps_weights;  // for the panel's other tiles: the first does
  int k;
};

// What stands for rows that a tile does not have.
constexpr int row_or_first(int r, int rows) { return r < rows ? r : 0; }

#define OCTOBERT_SPLIT_ROWS(DO) DO(0) DO(1) DO(2) DO(3)
#define OCTOBERT_SPLIT_DECLARE(r) Vec::I c##r = epilogue.init(row_or_first(r, R), 0);
// low0, high0, low1, high1 = the weights of two steps + 128, of the weights as they lie. In asm, or g++ keeps the
// constant in a register, which is then one too many; not a function of its own, whose results it keeps in memory.
#define OCTOBERT_SPLIT_FLIPPED(first, second)                                                   \
  asm("vmovdqa %[top_bits], %[high1]\n\t"                                                       \
      "vpxor %[first_low], %[high1], %[low0]\n\t"                                               \
      "vpxor %[first_high], %[high1], %[high0]\n\t"                                             \
      "vpxor %[second_low], %[high1], %[low1]\n\t"                                              \
      "vpxor %[second_high], %[high1], %[high1]"                                                \
      : [low0] "=&x"(low0), [high0] "=&x"(high0), [low1] "=&x"(low1), [high1] "=&x"(high1)      \
      : [top_bits] "m"(kTopBits), [first_low] "m"(*reinterpret_cast<const char(*)[32]>(first)), \
        [first_high] "m"(*reinterpret_cast<const char(*)[32]>((first) + 32)),                   \
        [second_low] "m"(*reinterpret_cast<const char(*)[32]>(second)),                         \
        [second_high] "m"(*reinterpret_cast<const char(*)[32]>((second) + 32)))
#define OCTOBERT_SPLIT_WEIGHTS(first, second)                             \
  __m256i low0, high0, low1, high1;                                       \
  if constexpr (kKeeps) {                                                 \
    OCTOBERT_SPLIT_FLIPPED(first, second);                                \
  } else {                                                                \
    const Vec::I step0 = Vec::load_i(first), step1 = Vec::load_i(second); \
    low0 = step0.low, high0 = step0.high;                                 \
    low1 = step1.low, high1 = step1.high;                                 \
  }
#define OCTOBERT_SPLIT_STEPS(r) \
  if constexpr (R > r) c##r = two_steps(c##r, a + r * lda, low0, high0, low1, high1);
#define OCTOBERT_SPLIT_WORDS(r) \
  if constexpr (R > r) c##r = epilogue.add_words(r, c##r);
#define OCTOBERT_SPLIT_FINISH(r) \
  if constexpr (R > r) epilogue.row(r, PanelSums{column, c##r});

// Tiles of 4 rows by 1 panel: 8 accumulators, 4 registers of weights and 4 temporaries are all 16 registers; the ones
// come from memory, which costs no operation of its own.
struct SplitS8 {
  using Acc = Vec::I;
  static constexpr int kRows = 4;
  static constexpr int kPanels = 1;

  template <int R, int P, bool kPrefetch, class Epilogue>
  static void tile(const char* a, size_t lda, const char* b, size_t, int steps, const Prefetch& ahead,
                   const Epilogue& epilogue) {
    static_assert(R <= kRows && P == 1);
    epilogue.keeps_weights ? tile_of_split<R, kPrefetch, true>(a, lda, b, steps, ahead, epilogue)
                           : tile_of_split<R, kPrefetch, false>(a, lda, epilogue.kept, steps, ahead, epilogue);
  }

 private:
  // b: the panel's weights as they lie, or kept.
  template <int R, bool kPrefetch, bool kKeeps, class Epilogue>
  [[gnu::noinline]] static void tile_of_split(const char* a, size_t lda, const char* b, int steps,
                                              [[maybe_unused]] const Prefetch& ahead, const Epilogue& given) {
    const Epilogue epilogue = given;
    [[maybe_unused]] char* kept = epilogue.kept;
    [[maybe_unused]] Prefetch prefetch = ahead;
    OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_DECLARE)
    for (; steps > 1; steps -= 2, a += 8, b += 128) {
      OCTOBERT_SPLIT_WEIGHTS(b, b + 64)
      if constexpr (kKeeps) {
        Vec::store_i(kept, {low0, high0});
        Vec::store_i(kept + 64, {low1, high1});
        kept += 128;
      }
      if constexpr (kPrefetch) {
        __builtin_prefetch(prefetch.from, 0, 2);
        __builtin_prefetch(prefetch.from + prefetch.step, 0, 2);
        prefetch.from += 2 * prefetch.step;
      }
      OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_STEPS)
    }
    if (steps > 0) {  // the row is 0 past K: any weights will do for the second step
      OCTOBERT_SPLIT_WEIGHTS(b, b)
      if constexpr (kKeeps) Vec::store_i(kept, {low0, high0});
      OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_STEPS)
    }
    OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_WORDS)
    const auto column = epilogue.column(0);
    OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_FINISH)
  }

  [[gnu::always_inline]] static inline Acc two_steps(Acc acc, const char* a, __m256i low0, __m256i high0, __m256i low1,
                                                     __m256i high1) {
    __m256i x, y, t, u;
    asm("vpbroadcastd %[a0], %[x]\n\t"
        "vpmaddubsw %[x], %[low0], %[t]\n\t"
        "vpmaddubsw %[x], %[high0], %[x]\n\t"
        "vpbroadcastd %[a1], %[y]\n\t"
        "vpmaddubsw %[y], %[low1], %[u]\n\t"
        "vpmaddubsw %[y], %[high1], %[y]\n\t"
        "vpaddw %[u], %[t], %[t]\n\t"
        "vpaddw %[y], %[x], %[x]\n\t"
        "vpmaddwd %[ones], %[t], %[t]\n\t"
        "vpmaddwd %[ones], %[x], %[x]\n\t"
        "vpaddd %[t], %[low], %[low]\n\t"
        "vpaddd %[x], %[high], %[high]"
        : [low] "+x"(acc.low), [high] "+x"(acc.high), [x] "=&x"(x), [y] "=&x"(y), [t] "=&x"(t), [u] "=&x"(u)
        : [a0] "m"(*reinterpret_cast<const char(*)[4]>(a)), [a1] "m"(*reinterpret_cast<const char(*)[4]>(a + 4)),
          [ones] "m"(kOnes16), [low0] "x"(low0), [high0] "x"(high0), [low1] "x"(low1), [high1] "x"(high1));
    return acc;
  }
};

#undef OCTOBERT_SPLIT_ROWS
#undef OCTOBERT_SPLIT_DECLARE
#undef OCTOBERT_SPLIT_FLIPPED
#undef OCTOBERT_SPLIT_WEIGHTS
#undef OCTOBERT_SPLIT_STEPS
#undef OCTOBERT_SPLIT_WORDS
#undef OCTOBERT_SPLIT_FINISH

inline void gemm_s8_split(const GemmS8Args& g) { gemm<SplitS8, SplitEpilogue>(gemm_s8_shape(g), g, g.row_max_bits); }

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_SPLIT_AVX2_INL_H_
