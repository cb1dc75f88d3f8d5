// What bench_kernels gives the products to work on: weights and rows of BERT-base's shapes, of random numbers.
#ifndef OCTOBERT_BENCH_KERNEL_INPUTS_H_
#define OCTOBERT_BENCH_KERNEL_INPUTS_H_

#include <algorithm>
#include <cstring>
#include <random>

#include "engine/aligned_buffer.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

namespace octobert::bench {

inline constexpr int kHidden = 768, kIntermediate = 3072, kHeadDim = 64, kLayers = 12;

inline std::minstd_rand random_bits(1);

constexpr size_t as_size(int x) { return static_cast<size_t>(x); }

// Aligned as the kernels want it.
template <class T>
class Array {
 public:
  explicit Array(size_t count) : bytes_(count * sizeof(T) + 64), count_(count) {
    std::memset(bytes_.data(), 0, bytes_.size());
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data()); }
  size_t size() const { return count_; }
  Array& fill(float low, float high) {
    // Not by uniform_real_distribution, whose two logarithms a number clang does not work out beforehand: 85 MB of
    // weights took 10 s.
    const float step = (high - low) / static_cast<float>(random_bits.max());
    for (size_t i = 0; i < count_; ++i) data()[i] = static_cast<T>(low + step * static_cast<float>(random_bits()));
    return *this;
  }

 private:
  AlignedBuffer bytes_;
  size_t count_;
};

// What a product gives: floats from floats, with weights of floats or of bytes; floats from bytes; bytes from bytes
// (static quantization).
enum class Numbers { kFloat, kWeightOnly, kDynamic, kStatic };

inline bool multiplies_floats(Numbers numbers) { return numbers == Numbers::kFloat || numbers == Numbers::kWeightOnly; }

struct Product {
  int n, k;
  Activation activation;
  Numbers numbers;
  Array<int8_t> s8;
  Array<float> f32, scale, bias, q_inv;
  Array<int32_t> sum;  // zeros: what it holds does not change the speed

  Product(int outputs, int inputs, Activation act, Numbers what)
      : n(outputs),
        k(inputs),
        activation(act),
        numbers(what),
        s8(what == Numbers::kFloat ? 0 : packed_s8_bytes(as_size(n), as_size(k))),
        f32(what == Numbers::kFloat ? packed_f32_floats(as_size(n), as_size(k)) : 0),
        scale(padded_outputs(as_size(n))),
        bias(padded_outputs(as_size(n))),
        q_inv(padded_outputs(as_size(n))),
        sum(padded_outputs(as_size(n))) {
    s8.fill(-127, 127);
    f32.fill(-1, 1);
    scale.fill(1e-5f, 2e-5f);
    q_inv.fill(20, 30);
  }
  int panels() const { return static_cast<int>(panel_count(as_size(n))); }
};

// Rows of up to kIntermediate inputs, and room for what becomes of them.
class Rows {
 public:
  explicit Rows(int rows)
      : m(rows),
        q(as_size(rows) * kIntermediate),
        f32(as_size(rows) * kIntermediate),
        scale(as_size(rows)),
        out(as_size(rows) * (kIntermediate + kPanelWidth)),
        out_q(as_size(rows) * kIntermediate),
        maxima(as_size(rows) * kPanelWidth),
        kept(packed_s8_panel_bytes(kIntermediate)),
        splits_(as_size(rows) * split_row_bytes(kIntermediate)) {
    f32.fill(-1, 1);
    scale.fill(0.01f, 0.02f);
  }

  // Of normally distributed activations (the largest of 1000 is about 3.3 deviations).
  void quantize(const KernelTable& table) {
    std::normal_distribution<float> value(0, 127 / 3.3f);
    for (size_t i = 0; i < q.size(); ++i) {
      const int x = static_cast<int>(std::clamp(value(random_bits), -127.0f, 127.0f));
      q.data()[i] = static_cast<uint8_t>(x + table.activation_offset);
    }
  }

  // Takes rows of `inputs` inputs apart where the table's products want that, and back: a second time would find
  // nothing to do.
  void split(const KernelTable& table, int inputs) {
    if (table.split_rows != nullptr) is_split_ = table.split_rows(split_args(inputs));
  }
  void join(const KernelTable& table, int inputs) {
    if (is_split_) table.join_rows(split_args(inputs));
    is_split_ = false;
  }
  void* splits() { return is_split_ ? splits_.data() : nullptr; }

  const int m;
  Array<uint8_t> q;
  Array<float> f32, scale, out;
  Array<uint8_t> out_q;
  Array<uint32_t> maxima;
  Array<char> kept;  // by products of split rows

 private:
  SplitRowsArgs split_args(int inputs) {
    return {.a = q.data(), .lda = activation_stride(as_size(inputs)), .splits = splits_.data(), .m = m, .k = inputs};
  }

  Array<char> splits_;
  bool is_split_ = false;
};

inline void run_floats(const KernelTable& table, Product& p, Rows& rows) {
  const bool weight_only = p.numbers == Numbers::kWeightOnly;
  (weight_only ? table.gemm_w8 : table.gemm_f32)({.a = rows.f32.data(),
                                                  .lda = kIntermediate,
                                                  .b = p.f32.data(),
                                                  .b_scale = weight_only ? p.scale.data() : nullptr,
                                                  .bias = p.bias.data(),
                                                  .dst = rows.out.data(),
                                                  .ldd = kIntermediate + kPanelWidth,
                                                  .m = rows.m,
                                                  .k = p.k,
                                                  .panel_begin = 0,
                                                  .panel_end = p.panels(),
                                                  .activation = p.activation,
                                                  .b_s8 = p.s8.data()});
}

// All of a product on all rows. `next` is what runs after it.
inline void run_product(const KernelTable& table, Product& p, Product& next, Rows& rows) {
  if (multiplies_floats(p.numbers)) return run_floats(table, p, rows);
  uint64_t clipped = 0;
  GemmS8Args args = {.a = rows.q.data(),
                     .lda = activation_stride(as_size(p.k)),
                     .a_scale = rows.scale.data(),
                     .b = p.s8.data(),
                     .b_scale = p.scale.data(),
                     .b_sum = p.sum.data(),
                     .bias = p.bias.data(),
                     .dst = rows.out.data(),
                     .ldd = kIntermediate + kPanelWidth,
                     .row_max_bits = p.activation == Activation::kNone ? nullptr : rows.maxima.data(),
                     .m = rows.m,
                     .k = p.k,
                     .panel_begin = 0,
                     .panel_end = p.panels(),
                     .activation = p.activation,
                     .splits = rows.splits(),
                     .kept = rows.kept.data(),
                     .after = {next.s8.data(), packed_s8_panel_bytes(as_size(next.k))},
                     .fetch_results = fetches_results()};
  if (p.numbers == Numbers::kStatic) {
    args.a_scale = nullptr;
    args.dst = nullptr;
    args.row_max_bits = nullptr;
    args.q = rows.out_q.data();
    args.ldq = kIntermediate;
    args.q_inv = p.q_inv.data();
    args.clipped = &clipped;
  }
  table.gemm_s8(args);
}

}  // namespace octobert::bench

#endif  // OCTOBERT_BENCH_KERNEL_INPUTS_H_
