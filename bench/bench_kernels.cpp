// Every kernel of every instruction set that this CPU has, one thread, on BERT's shapes; oneDNN's integer product
// beside ours where it is installed.
//   bench_kernels --benchmark_filter='gemm_s8/.*/128x'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/aligned_buffer.h"
#include "kernels/dispatch.h"
#include "kernels/pack.h"
#ifdef OCTOBERT_HAVE_ONEDNN
#include "bench/onednn_product.h"
#endif

namespace octobert::bench {
namespace {

struct Product {
  int m, n, k;
};
// BERT-base's four products, for a short text and a text of usual length; MiniLM's widest.
constexpr Product kProducts[] = {{128, 2304, 768}, {128, 768, 768}, {128, 3072, 768}, {128, 768, 3072},
                                 {16, 2304, 768},  {16, 3072, 768}, {16, 768, 3072},  {128, 1536, 384}};
constexpr int kHidden = 768, kHeadDim = 64, kTokens = 128;

size_t as_size(int value) { return static_cast<size_t>(value); }

template <class T>
struct Array {
  explicit Array(size_t n) : memory(n * sizeof(T)), data(reinterpret_cast<T*>(memory.data())), count(n) {}
  AlignedBuffer memory;
  T* data;
  size_t count;
};

Array<float> random_floats(size_t count, float low, float high) {
  Array<float> a(count);
  std::mt19937 random(1);
  for (size_t i = 0; i < count; ++i) a.data[i] = low + (high - low) * static_cast<float>(random() >> 8) * 0x1p-24f;
  return a;
}

template <class T>
Array<T> random_bytes(size_t count, int low, int high) {
  Array<T> a(count);
  std::mt19937 random(2);
  for (size_t i = 0; i < count; ++i) {
    a.data[i] = static_cast<T>(low + static_cast<int>(random() % static_cast<uint32_t>(high - low + 1)));
  }
  return a;
}

// Things a second, in units of 10^9: multiply-adds of products and attention, values of the rest.
void count(benchmark::State& state, const char* what, double things) {
  state.counters[what] = benchmark::Counter(things * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
double multiplications(const Product& p) { return double(p.m) * p.n * p.k; }

void gemm_s8(benchmark::State& state, const KernelTable& table, const Product& p) {
  const size_t m = as_size(p.m), n = as_size(p.n), k = as_size(p.k), lda = activation_stride(k);
  const auto a = random_bytes<uint8_t>(m * lda, table.activation_offset - 127, table.activation_offset + 127);
  const auto w = random_bytes<int8_t>(n * k, -127, 127);
  const Array<int8_t> packed(packed_s8_bytes(n, k));
  const Array<int32_t> sums(padded_outputs(n));
  pack_s8(w.data, n, k, packed.data);
  row_sums(w.data, n, k, sums.data);
  const auto a_scale = random_floats(m, 0.01f, 0.02f), b_scale = random_floats(padded_outputs(n), 0.001f, 0.002f);
  const auto bias = random_floats(padded_outputs(n), -1, 1);
  const Array<float> dst(m * padded_outputs(n));
  const GemmS8Args args = {a.data,
                           lda,
                           a_scale.data,
                           packed.data,
                           b_scale.data,
                           sums.data,
                           bias.data,
                           dst.data,
                           padded_outputs(n),
                           nullptr,
                           p.m,
                           p.k,
                           0,
                           static_cast<int>(panel_count(n)),
                           Activation::kNone};
  for (auto _ : state) table.gemm_s8(args);
  count(state, "GMAC/s", multiplications(p));
}

void gemm_f32(benchmark::State& state, const KernelTable& table, const Product& p) {
  const size_t m = as_size(p.m), n = as_size(p.n), k = as_size(p.k);
  const auto a = random_floats(m * k, -1, 1), w = random_floats(n * k, -1, 1);
  const Array<float> packed(packed_f32_floats(n, k)), dst(m * padded_outputs(n));
  pack_f32(w.data, n, k, packed.data);
  const auto bias = random_floats(padded_outputs(n), -1, 1);
  const GemmF32Args args = {a.data,
                            k,
                            packed.data,
                            nullptr,
                            bias.data,
                            dst.data,
                            padded_outputs(n),
                            p.m,
                            p.k,
                            0,
                            static_cast<int>(panel_count(n)),
                            Activation::kNone};
  for (auto _ : state) table.gemm_f32(args);
  count(state, "GMAC/s", multiplications(p));
}

void unpack_panel(benchmark::State& state, const KernelTable& table) {
  const auto panel = random_bytes<int8_t>(packed_s8_panel_bytes(kHidden), -127, 127);
  const Array<float> dst(packed_f32_panel_floats(kHidden));
  for (auto _ : state) table.unpack_panel(panel.data, kHidden, dst.data);
  count(state, "Gvalues/s", static_cast<double>(dst.count));
}

void quantize_rows(benchmark::State& state, const KernelTable& table) {
  const auto x = random_floats(as_size(kTokens * kHidden), -3, 3);
  const Array<uint8_t> q(as_size(kTokens) * activation_stride(kHidden));
  const Array<float> scale(kTokens);
  const QuantizeRowsArgs args = {x.data,     kHidden, nullptr, q.data, activation_stride(kHidden),
                                 scale.data, kTokens, kHidden};
  for (auto _ : state) table.quantize_rows(args);
  count(state, "Gvalues/s", double(kTokens) * kHidden);
}

void layer_norm(benchmark::State& state, const KernelTable& table) {
  const auto x = random_floats(as_size(kTokens * kHidden), -3, 3), gamma = random_floats(kHidden, 0.5f, 2);
  const Array<float> y(x.count), scale(kTokens);
  const Array<uint8_t> q(as_size(kTokens) * activation_stride(kHidden));
  const LayerNormArgs args = {x.data,
                              kHidden,
                              x.data,
                              kHidden,
                              gamma.data,
                              gamma.data,
                              1e-12f,
                              y.data,
                              kHidden,
                              q.data,
                              activation_stride(kHidden),
                              scale.data,
                              kTokens,
                              kHidden};
  for (auto _ : state) table.layer_norm(args);
  count(state, "Gvalues/s", double(kTokens) * kHidden);
}

void embed(benchmark::State& state, const KernelTable& table) {
  constexpr int kVocab = 4096;
  const auto word = random_bytes<int8_t>(as_size(kVocab * kHidden), -127, 127);
  const auto scale = random_floats(kVocab, 0.001f, 0.002f), rows = random_floats(as_size(kTokens * kHidden), -1, 1);
  std::vector<int32_t> ids(kTokens), positions(kTokens);
  for (int i = 0; i < kTokens; ++i) ids[as_size(i)] = i * 37 % kVocab, positions[as_size(i)] = i;
  const Array<float> dst(as_size(kTokens * kHidden));
  const EmbedArgs args = {ids.data(), nullptr,   positions.data(), word.data, scale.data, nullptr,
                          rows.data,  rows.data, dst.data,         kHidden,   kTokens,    kHidden};
  for (auto _ : state) table.embed(args);
  count(state, "Gvalues/s", double(kTokens) * kHidden);
}

// One head over a text of s tokens.
void attention(benchmark::State& state, void (*kernel)(const AttentionArgs&), int s) {
  const size_t ld = 3 * kHidden;
  const auto qkv = random_floats(as_size(s) * ld, -2, 2);
  const Array<float> dst(as_size(s) * kHidden);
  const Array<std::byte> scratch(attention_scratch_bytes(as_size(s), kHeadDim));
  const AttentionArgs args = {
      qkv.data, qkv.data + kHidden, qkv.data + 2 * kHidden, ld, dst.data, kHidden, scratch.data, s, kHeadDim, 0, s};
  for (auto _ : state) kernel(args);
  count(state, "GMAC/s", 2.0 * s * s * kHeadDim);
}

void softmax(benchmark::State& state, const KernelTable& table) {
  const auto x = random_floats(as_size(kTokens * 512), -9, 9);
  const Array<float> y(x.count);
  const SoftmaxArgs args = {x.data, 512, y.data, 512, kTokens, 512};
  for (auto _ : state) table.softmax(args);
  count(state, "Gvalues/s", static_cast<double>(x.count));
}

void activate(benchmark::State& state, const KernelTable& table, Activation activation) {
  const auto x = random_floats(16384, -4, 4);
  const Array<float> y(x.count);
  for (auto _ : state) table.activate(x.data, y.data, x.count, activation);
  count(state, "Gvalues/s", static_cast<double>(x.count));
}

#ifdef OCTOBERT_HAVE_ONEDNN
// Against a plain sum of the same product, so that what is timed is known to be the same thing.
bool is_exact(const OneDnnProduct& product, const Product& p, const uint8_t* a, const int8_t* w) {
  const auto sums = product.result();
  for (int m = 0; m < p.m; m += 17) {
    for (int n = 0; n < p.n; n += 13) {
      int32_t sum = 0;
      for (int k = 0; k < p.k; ++k) sum += a[m * p.k + k] * w[n * p.k + k];
      if (sums[as_size(m * p.n + n)] != sum) return false;
    }
  }
  return true;
}

void onednn(benchmark::State& state, const Product& p) {
  const auto a = random_bytes<uint8_t>(as_size(p.m * p.k), 1, 255);
  const auto w = random_bytes<int8_t>(as_size(p.n * p.k), -127, 127);
  OneDnnProduct product(p.m, p.n, p.k, {a.data, a.count}, {w.data, w.count});
  product.run();
  if (!is_exact(product, p, a.data, w.data)) return state.SkipWithError("oneDNN's sums differ from the product's");
  for (auto _ : state) product.run();
  count(state, "GMAC/s", multiplications(p));
}
#endif

void add(const std::string& name, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))->Unit(benchmark::kMicrosecond);
}

void add_kernels(const KernelTable& t) {
  const std::string isa = std::string("/") + t.name;
  for (const Product& p : kProducts) {
    const std::string shape = isa + "/" + std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
    add("gemm_s8" + shape, [&t, &p](auto& state) { gemm_s8(state, t, p); });
    add("gemm_f32" + shape, [&t, &p](auto& state) { gemm_f32(state, t, p); });
  }
  for (const int s : {16, 128, 512}) {
    add("attention_s8" + isa + "/" + std::to_string(s), [&t, s](auto& state) { attention(state, t.attention_s8, s); });
    add("attention_f32" + isa + "/" + std::to_string(s),
        [&t, s](auto& state) { attention(state, t.attention_f32, s); });
  }
  add("unpack_panel" + isa, [&t](auto& state) { unpack_panel(state, t); });
  add("quantize_rows" + isa, [&t](auto& state) { quantize_rows(state, t); });
  add("layer_norm" + isa, [&t](auto& state) { layer_norm(state, t); });
  add("embed" + isa, [&t](auto& state) { embed(state, t); });
  add("softmax" + isa, [&t](auto& state) { softmax(state, t); });
  add("gelu" + isa, [&t](auto& state) { activate(state, t, Activation::kGelu); });
  add("gelu_tanh" + isa, [&t](auto& state) { activate(state, t, Activation::kGeluTanh); });
  add("relu" + isa, [&t](auto& state) { activate(state, t, Activation::kRelu); });
}

}  // namespace
}  // namespace octobert::bench

int main(int argc, char** argv) {
  using namespace octobert;
  for (const KernelTable* table : compiled_tables()) {
    if (is_available(*table, detect_cpu_features())) bench::add_kernels(*table);
  }
#ifdef OCTOBERT_HAVE_ONEDNN
  for (const bench::Product& p : bench::kProducts) {
    const std::string shape = std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
    bench::add("gemm_s8/onednn/" + shape, [&p](auto& state) { bench::onednn(state, p); });
  }
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
