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
// bytes with the step that they belong to, in pairs, whose lanes fulfil the same. With an activation q = c + e, what
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

// Two words of what was taken out of a row; each belongs to a step (4 inputs), whose weights lie `offset` bytes into a
// panel.
struct RestPair {
  uint32_t offset[2];
  uint32_t word[2];  // 4 int8; 0: nothing
};

struct SplitRow {
  int32_t sum;    // of the row's activations less their zero point
  int32_t pairs;  // in use
  RestPair* rests() { return reinterpret_cast<RestPair*>(this + 1); }
};
static_assert(sizeof(SplitRow) == kSplitRowHead && sizeof(RestPair) == kSplitRowPair);

inline SplitRow* split_row(void* splits, int k, int row) {
  return reinterpret_cast<SplitRow*>(static_cast<char*>(splits) + static_cast<size_t>(row) * split_row_bytes(k));
}

// Where a row's rests go, if the last pair's lanes have room for them: to the word before, if it is of the same step
// and has nothing in that lane, or to the pair's second word, if that is free. Else to a new pair.
class Rests {
 public:
  explicit Rests(SplitRow* row) : row_(row) { row_->pairs = 0; }
  // `first` of input k and `second` of k + 1, k even: magnitudes of one sign, kLaneBudget together at most.
  void put(bool negative, size_t k, int first, int second) {
    const auto offset = static_cast<uint32_t>(k / 4) * 64;
    const auto shift = 8 * (k % 4);
    const auto byte = [=](int x) { return static_cast<uint32_t>(negative ? -x : x) & 255; };
    const uint32_t bytes = (byte(first) | byte(second) << 8) << shift, lane = 0xffffu << shift;
    int& room = room_[negative][k / 2 % 2];
    const bool fits = first + second <= room;
    if (fits && offset == offset_ && (*word_ & lane) == 0) {
      *word_ |= bytes;
    } else {
      if (fits && !second_) {
        second_ = true;
      } else {
        second_ = false;
        row_->rests()[row_->pairs++] = {};
        room_[0][0] = room_[0][1] = room_[1][0] = room_[1][1] = kLaneBudget;
      }
      RestPair& pair = row_->rests()[row_->pairs - 1];
      pair.offset[second_] = offset_ = offset;
      word_ = &pair.word[second_];
      *word_ = bytes;
    }
    room -= first + second;
  }

 private:
  SplitRow* row_;
  uint32_t offset_ = 0;  // of the last word
  uint32_t* word_ = nullptr;
  bool second_ = false;  // it is its pair's second
  int room_[2][2] = {};  // left of each sign in each lane of the last pair
};

inline int smaller(int x, int y) { return x < y ? x : y; }
inline int positive_part(int x) { return x > 0 ? x : 0; }

// Takes `excess` of one sign out of the inputs k, k + 1 (of x), then k + 4, k + 5, which meet in one lane.
inline void relieve(int8_t* x, size_t k, int excess, bool negative, Rests& rests) {
  const int sign = negative ? -1 : 1;
  for (size_t step = 0; step < 8; step += 4) {
    int8_t* pair = x + step;
    while (excess > 0) {
      const int first = smaller(positive_part(sign * pair[0]), smaller(excess, kLaneBudget));
      const int second = smaller(positive_part(sign * pair[1]), smaller(excess, kLaneBudget) - first);
      if (first + second == 0) break;
      pair[0] = static_cast<int8_t>(pair[0] - sign * first);
      pair[1] = static_cast<int8_t>(pair[1] - sign * second);
      excess -= first + second;
      rests.put(negative, k + step, first, second);
    }
  }
}

// The sums of the lanes of 8 inputs each, in the first two of 4 lanes: of x[0, 1, 4, 5] and of x[2, 3, 6, 7].
inline __m256i lane_sums(__m256i bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
  return _mm256_add_epi16(pairs, _mm256_srli_epi64(pairs, 32));
}

inline uint32_t above_budget(__m256i sums) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpgt_epi16(sums, _mm256_set1_epi16(kLaneBudget)))) &
         0x05050505u;  // a bit for each of the lanes that hold whole sums
}

// For each lane of x (32 inputs from k on) that is above its budget.
inline void relieve_lanes(int8_t* x, size_t k, uint32_t lanes, __m256i sums, bool negative, Rests& rests) {
  alignas(32) int16_t of_lane[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(of_lane), sums);
  for (; lanes != 0; lanes &= lanes - 1) {
    const auto at = static_cast<size_t>(__builtin_ctz(lanes));  // byte of the lane: of 8, the 0th or the 2nd
    relieve(x + at, k + at, of_lane[at / 2] - kLaneBudget, negative, rests);
  }
}

// What the saturated x = given - zero_point lacks.
inline void put_saturated(const int8_t* given, const int8_t* x, size_t k, int32_t zero_point, Rests& rests) {
  for (size_t i = 0; i < 32; ++i) {
    const int lacking = given[i] - zero_point - x[i];
    if (lacking == 0) continue;
    const int magnitude = lacking < 0 ? -lacking : lacking;
    i % 2 == 0 ? rests.put(lacking < 0, k + i, magnitude, 0) : rests.put(lacking < 0, k + i - 1, 0, magnitude);
  }
}

// 32 inputs from k on.
inline __m256i split_vector(__m256i given, size_t k, int32_t zero_point, Rests& rests) {
  __m256i x = given;
  alignas(32) int8_t bytes[32];
  __m256i* memory = reinterpret_cast<__m256i*>(bytes);
  if (zero_point != 0) {
    const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_point));
    x = _mm256_subs_epi8(given, zero);
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_adds_epi8(x, zero), given)) != -1) {
      alignas(32) int8_t before[32];
      _mm256_store_si256(reinterpret_cast<__m256i*>(before), given);
      _mm256_store_si256(memory, x);
      put_saturated(before, bytes, k, zero_point, rests);
    }
  }
  const __m256i above = _mm256_max_epi8(x, _mm256_setzero_si256());
  const __m256i positive = lane_sums(above), negative = lane_sums(_mm256_sub_epi8(_mm256_abs_epi8(x), above));
  const uint32_t lanes = above_budget(positive), negative_lanes = above_budget(negative);
  if ((lanes | negative_lanes) == 0) return x;
  _mm256_store_si256(memory, x);
  relieve_lanes(bytes, k, lanes, positive, false, rests);
  relieve_lanes(bytes, k, negative_lanes, negative, true, rests);
  return _mm256_load_si256(memory);
}

// Splits a row unless that takes more than `most` pairs: then it stops. Returns the bytes that it changed.
inline size_t split_whole_row(char* a, size_t k, int32_t zero_point, SplitRow* row, int most) {
  Rests rests(row);
  __m256i total = _mm256_setzero_si256();
  size_t at = 0;
  for (; at < k && row->pairs <= most; at += 32) {
    __m256i* const vector = reinterpret_cast<__m256i*>(a + at);
    const __m256i given = _mm256_load_si256(vector);
    _mm256_store_si256(vector, split_vector(given, at, zero_point, rests));
    total = _mm256_add_epi32(total,
                             _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), given), _mm256_set1_epi16(1)));
  }
  alignas(32) int32_t sums[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(sums), total);
  row->sum = -zero_point * static_cast<int32_t>(at);
  for (const int32_t s : sums) row->sum += s;
  return at;
}

// Puts the first `split` bytes of a row together again: bytes wrap to what they were.
inline void join_row(char* a, size_t split, int32_t zero_point, SplitRow* row) {
  for (const RestPair* pair = row->rests(); pair != row->rests() + row->pairs; ++pair) {
    for (int j = 0; j < 2; ++j) {
      char* at = a + pair->offset[j] / 16;
      for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(at[i] + static_cast<int>(pair->word[j] >> (8 * i) & 255));
    }
  }
  for (size_t i = 0; i < split; ++i) a[i] = static_cast<char>(a[i] + zero_point);
}

// The first `rows` rows.
inline void join_rows(const SplitRowsArgs& g, int rows) {
  for (int m = 0; m < rows; ++m) {
    join_row(reinterpret_cast<char*>(g.a) + static_cast<size_t>(m) * g.lda, static_cast<size_t>(g.k), g.zero_point,
             split_row(g.splits, g.k, m));
  }
}
inline void join_rows(const SplitRowsArgs& g) { join_rows(g, g.m); }

// A pair costs as much as a step of the loop, and a row of k inputs has k / 8 steps of two: with k / 32 pairs,
// splitting wins a few percent still. A row may have twice that, if others have less, which is what its room is for.
constexpr int kInputsPerPair = 32;
static_assert(kInputsPerPair >= 2 * 16);
// Of 32 inputs there may be 32 bytes that a subtraction saturated, and 8 lanes that are above their budget, of which
// none takes more than 3 words: the lane's first step gives at most all it has, two bytes of 128 or less, in two words;
// then the second step has at most 128 too much. Each word may be a pair.
static_assert(kSplitPairsOfVector >= 32 + 8 * 3);

inline bool split_rows(const SplitRowsArgs& g) {
  const auto k = static_cast<size_t>(g.k);
  const auto bytes_of = [&](int m) { return reinterpret_cast<char*>(g.a) + static_cast<size_t>(m) * g.lda; };
  int left = g.m * (g.k / kInputsPerPair);
  for (int m = 0; m < g.m; ++m) {
    memset(bytes_of(m) + k, g.zero_point, activation_stride(k) - k);  // becomes 0: a step may read past K
    SplitRow* row = split_row(g.splits, g.k, m);
    const int most = smaller(left, 2 * g.k / kInputsPerPair);
    const size_t changed = split_whole_row(bytes_of(m), k, g.zero_point, row, most);
    if (row->pairs > most) {
      join_row(bytes_of(m), changed, g.zero_point, row);
      join_rows(g, m);
      return false;
    }
    left -= row->pairs;
  }
  return true;
}

// ---- products ----

// The sums of one panel: their start, and what the rests add. That comes last: by then the kept weights are in L1, if
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
  I rests(const RestPair& pair) const {
    const I w0 = Vec::load_i(kept + pair.offset[0]), w1 = Vec::load_i(kept + pair.offset[1]);
    const __m256i e0 = _mm256_set1_epi32(static_cast<int32_t>(pair.word[0]));
    const __m256i e1 = _mm256_set1_epi32(static_cast<int32_t>(pair.word[1]));
    const auto sums = [&](__m256i x, __m256i y) {
      return _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(x, e0), _mm256_maddubs_epi16(y, e1)),
                               _mm256_set1_epi16(1));
    };
    return {sums(w0.low, w1.low), sums(w0.high, w1.high)};
  }
  // A loop for each row: one for all, as long as the longest list, was 3 to 5 % slower.
  I add_rests(int r, I sums) const {
    SplitRow* row = split_row(splits, k, r);
    for (const RestPair *pair = row->rests(), *end = pair + row->pairs; pair != end; ++pair) {
      sums = Vec::add_i(sums, rests(*pair));
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
#define OCTOBERT_SPLIT_RESTS(r) \
  if constexpr (R > r) c##r = epilogue.add_rests(r, c##r);
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
    OCTOBERT_SPLIT_ROWS(OCTOBERT_SPLIT_RESTS)
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
#undef OCTOBERT_SPLIT_RESTS
#undef OCTOBERT_SPLIT_FINISH

inline void gemm_s8_split(const GemmS8Args& g) { gemm<SplitS8, SplitEpilogue>(gemm_s8_shape(g), g, g.row_max_bits); }

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_SPLIT_AVX2_INL_H_
