// Every kernel by itself, on every instruction set that this processor has, one thread.
//
//   bench_kernels                                    all
//   bench_kernels --benchmark_filter=avx512_vnni/encoder_products
//
// Products report GMAC/s and their share of the peak, which is measured first, from registers alone. The matrices are
// BERT-base's; encoder_products are the four products of 12 layers one after the other, epilogue included, with 85 MB
// of weights that no L2 holds. onednn/gemm_s8 is oneDNN's exact integer product (no scales, no activation) where that
// library is installed.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "apps/peak.h"
#include "engine/aligned_buffer.h"
#include "kernels/dispatch.h"
#include "kernels/kernels.h"
#ifdef OCTOBERT_HAVE_ONEDNN
#include "bench/onednn_product.h"
#endif

namespace octobert {
#if defined(__x86_64__)
extern const KernelTable kAvxVnniEvexTable;  // tests and benches only: CMakeLists.txt
#endif
}  // namespace octobert

namespace {

using namespace octobert;

constexpr int kHidden = 768, kIntermediate = 3072, kHeadDim = 64, kLayers = 12, kGroup = 32;
constexpr double kPeakSeconds = 0.1;

std::minstd_rand random_bits(1);

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
    std::uniform_real_distribution<float> value(low, high);
    for (size_t i = 0; i < count_; ++i) data()[i] = static_cast<T>(value(random_bits));
    return *this;
  }

 private:
  AlignedBuffer bytes_;
  size_t count_;
};

struct Product {
  int n, k;
  Activation activation;
  bool floats;
  Array<int8_t> s8;
  Array<float> f32, scale, bias;
  Array<int32_t> sum;  // zeros: what it holds does not change the speed

  Product(int outputs, int inputs, Activation act, bool in_floats)
      : n(outputs),
        k(inputs),
        activation(act),
        floats(in_floats),
        s8(in_floats ? 0 : packed_s8_bytes(size(n), size(k))),
        f32(in_floats ? packed_f32_floats(size(n), size(k)) : 0),
        scale(padded_outputs(size(n))),
        bias(padded_outputs(size(n))),
        sum(padded_outputs(size(n))) {
    s8.fill(-127, 127);
    f32.fill(-1, 1);
    scale.fill(1e-5f, 2e-5f);
  }
  static size_t size(int x) { return static_cast<size_t>(x); }
};

struct Rows {
  int m;
  Array<uint8_t> q;
  Array<float> f32, scale, out;
  Array<uint32_t> maxima;
  Array<char> splits;
  bool split = false;

  explicit Rows(int rows)
      : m(rows),
        q(Product::size(rows) * kIntermediate),
        f32(Product::size(rows) * kIntermediate),
        scale(Product::size(rows)),
        out(Product::size(rows) * (kIntermediate + kPanelWidth)),
        maxima(Product::size(rows) * kPanelWidth),
        splits(Product::size(rows) * split_row_bytes(kIntermediate)) {
    f32.fill(-1, 1);
    scale.fill(0.01f, 0.02f);
  }
  // Of normally distributed activations (the largest of 1000 is about 3.3 deviations), as products of `inputs` inputs
  // read them. Split once, outside of what is timed: a second time would find nothing to do. It is 1 to 9 % of a
  // product, the more the fewer its outputs.
  Rows& quantized(const KernelTable& table, int inputs) {
    std::normal_distribution<float> value(0, 127 / 3.3f);
    for (size_t i = 0; i < q.size(); ++i) {
      const int x = static_cast<int>(std::clamp(value(random_bits), -127.0f, 127.0f));
      q.data()[i] = static_cast<uint8_t>(x + table.activation_offset);
    }
    split = table.split_rows != nullptr && table.split_rows({.a = q.data(),
                                                             .lda = activation_stride(Product::size(inputs)),
                                                             .splits = splits.data(),
                                                             .m = m,
                                                             .k = inputs});
    return *this;
  }
};

// `next` is what runs after it.
void run_product(const KernelTable& table, Product& p, Product& next, Rows& rows) {
  if (p.floats) {
    return table.gemm_f32({.a = rows.f32.data(),
                           .lda = kIntermediate,
                           .b = p.f32.data(),
                           .b_scale = nullptr,
                           .bias = p.bias.data(),
                           .dst = rows.out.data(),
                           .ldd = kIntermediate + kPanelWidth,
                           .m = rows.m,
                           .k = p.k,
                           .panel_begin = 0,
                           .panel_end = static_cast<int>(panel_count(Product::size(p.n))),
                           .activation = p.activation});
  }
  table.gemm_s8({.a = rows.q.data(),
                 .lda = activation_stride(Product::size(p.k)),
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
                 .panel_end = static_cast<int>(panel_count(Product::size(p.n))),
                 .activation = p.activation,
                 .splits = rows.split ? rows.splits.data() : nullptr,
                 .after = {next.s8.data(), packed_s8_panel_bytes(Product::size(next.k))}});
}

void report(benchmark::State& state, double macs, double peak) {
  const double total = macs * static_cast<double>(state.iterations()) / 1e9;
  state.counters["GMAC/s"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
  if (peak > 0) state.counters["%peak"] = benchmark::Counter(100 * total / peak, benchmark::Counter::kIsRate);
}

double peak_of(const KernelTable& table, bool floats) {
  const bench::PeakLoop* loop = bench::peak_loop_of(table, floats);
  return loop == nullptr ? 0 : bench::measure_peak(*loop, kPeakSeconds);
}

void encoder_products(benchmark::State& state, const KernelTable& table, int m, bool floats, double peak) {
  std::vector<Product> products;
  double macs = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    products.emplace_back(3 * kHidden, kHidden, Activation::kNone, floats);
    products.emplace_back(kHidden, kHidden, Activation::kNone, floats);
    products.emplace_back(kIntermediate, kHidden, Activation::kGelu, floats);
    products.emplace_back(kHidden, kIntermediate, Activation::kNone, floats);
  }
  for (const Product& p : products) macs += static_cast<double>(p.n) * p.k * m;
  Rows narrow(m), wide(m);
  narrow.quantized(table, kHidden);
  wide.quantized(table, kIntermediate);
  for (auto _ : state) {
    for (size_t i = 0; i < products.size(); ++i) {
      Product& p = products[i];
      run_product(table, p, products[(i + 1) % products.size()], p.k == kHidden ? narrow : wide);
    }
  }
  report(state, macs, peak);
}

void product(benchmark::State& state, const KernelTable& table, int m, int n, int k, Activation activation, bool floats,
             double peak) {
  Product p(n, k, activation, floats);
  Rows rows(m);
  rows.quantized(table, k);
  for (auto _ : state) run_product(table, p, p, rows);
  report(state, static_cast<double>(n) * k * m, peak);
}

// One head; the share counts the useful multiply-accumulates, softmax and packing are the rest.
void report_attention(benchmark::State& state, int s, double peak) { report(state, 2.0 * s * s * kHeadDim, peak); }

void attention(benchmark::State& state, const KernelTable& table, int s, bool floats, double peak) {
  const size_t tokens = Product::size(s);
  Array<float> qkv(tokens * 3 * kHeadDim), out(tokens * kHeadDim);
  qkv.fill(-2, 2);
  AlignedBuffer memory(attention_scratch_bytes(tokens, kHeadDim));
  const AttentionArgs args = {.q = qkv.data(),
                              .k = qkv.data() + kHeadDim,
                              .v = qkv.data() + 2 * kHeadDim,
                              .ld = 3 * kHeadDim,
                              .dst = out.data(),
                              .ldd = kHeadDim,
                              .scratch = memory.data(),
                              .s = s,
                              .head_dim = kHeadDim,
                              .row_begin = 0,
                              .row_end = s};
  for (auto _ : state) (floats ? table.attention_f32 : table.attention_s8)(args);
  report_attention(state, s, peak);
}

void attention_static(benchmark::State& state, const KernelTable& table, int s, double peak) {
  const size_t tokens = Product::size(s);
  Array<uint8_t> qkv(tokens * 3 * kHeadDim), out(tokens * kHeadDim);
  Array<float> v_scale(kHeadDim), inv(kHeadDim);
  qkv.fill(1, 255);
  v_scale.fill(0.01f, 0.02f);
  inv.fill(50, 100);
  AlignedBuffer memory(attention_scratch_bytes(tokens, kHeadDim));
  const AttentionStaticArgs args = {.q = qkv.data(),
                                    .k = qkv.data() + kHeadDim,
                                    .v = qkv.data() + 2 * kHeadDim,
                                    .ld = 3 * kHeadDim,
                                    .score_factor = 1e-4f,
                                    .v_scale = v_scale.data(),
                                    .dst = nullptr,
                                    .ldd = 0,
                                    .scratch = memory.data(),
                                    .s = s,
                                    .head_dim = kHeadDim,
                                    .row_begin = 0,
                                    .row_end = s,
                                    .dst_q = out.data(),
                                    .ldq = kHeadDim,
                                    .inv = inv.data()};
  for (auto _ : state) table.attention_static(args);
  report_attention(state, s, peak);
}

void layer_norm(benchmark::State& state, const KernelTable& table, int m) {
  Rows rows(m);
  Array<float> residual(Product::size(m) * kHidden), gamma(kHidden), beta(kHidden), y(Product::size(m) * kHidden);
  residual.fill(-1, 1);
  gamma.fill(-1, 1);
  for (auto _ : state) {
    table.layer_norm({.x = rows.f32.data(),
                      .ldx = kHidden,
                      .residual = residual.data(),
                      .ldr = kHidden,
                      .gamma = gamma.data(),
                      .beta = beta.data(),
                      .eps = 1e-12f,
                      .y = y.data(),
                      .ldy = kHidden,
                      .q = rows.q.data(),
                      .ldq = kHidden,
                      .scale = rows.scale.data(),
                      .m = m,
                      .n = kHidden});
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * m * kHidden);
}

void quantize_rows(benchmark::State& state, const KernelTable& table, int m) {
  Rows rows(m);
  for (auto _ : state) {
    table.quantize_rows({.src = rows.f32.data(),
                         .lds = kIntermediate,
                         .row_max_bits = nullptr,
                         .dst = rows.q.data(),
                         .ldd = kIntermediate,
                         .scale = rows.scale.data(),
                         .m = m,
                         .k = kIntermediate});
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * m * kIntermediate);
}

void quantize_static(benchmark::State& state, const KernelTable& table, int m) {
  Rows rows(m);
  Array<float> inv(kIntermediate);
  inv.fill(50, 100);
  for (auto _ : state) {
    table.quantize_static({.src = rows.f32.data(),
                           .lds = kIntermediate,
                           .inv = inv.data(),
                           .zero_point = -100,
                           .dst = rows.q.data(),
                           .ldd = kIntermediate,
                           .m = m,
                           .k = kIntermediate});
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * m * kIntermediate);
}

void activate(benchmark::State& state, const KernelTable& table, Activation activation) {
  Array<float> x(kIntermediate), y(kIntermediate);
  x.fill(-4, 4);
  for (auto _ : state) table.activate(x.data(), y.data(), x.size(), activation);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kIntermediate);
}

// A panel of weights as `weights` to floats.
enum class Stored { kInt8, kInt4, kCodebook };
void unpack_panel(benchmark::State& state, const KernelTable& table, Stored weights) {
  Array<uint8_t> panel(packed_s8_panel_bytes(kHidden));  // int4 takes half of it
  Array<float> out(packed_f32_panel_floats(kHidden)), scale(kHidden / kGroup * kPanelWidth), codebook(16);
  for (auto _ : state) {
    switch (weights) {
      case Stored::kInt8:
        table.unpack_panel(reinterpret_cast<const int8_t*>(panel.data()), kHidden, out.data());
        break;
      case Stored::kInt4:
        table.unpack_panel_s4({.panel = panel.data(),
                               .k = kHidden,
                               .group_scale = scale.data(),
                               .group_stride = kPanelWidth,
                               .group_size = kGroup,
                               .dst = out.data()});
        break;
      case Stored::kCodebook:
        table.unpack_panel_codebook(panel.data(), kHidden, codebook.data(), out.data());
        break;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kHidden * kPanelWidth);
}

#ifdef OCTOBERT_HAVE_ONEDNN
// Against a plain sum of the same product, so that what is timed is known to be the same thing.
bool is_exact(const bench::OneDnnProduct& product, int rows, int outputs, int inputs, const uint8_t* a,
              const int8_t* w) {
  const auto sums = product.result();
  for (int m = 0; m < rows; m += 17) {
    for (int n = 0; n < outputs; n += 13) {
      int32_t sum = 0;
      for (int k = 0; k < inputs; ++k) sum += a[m * inputs + k] * w[n * inputs + k];
      if (sums[Product::size(m * outputs + n)] != sum) return false;
    }
  }
  return true;
}

void onednn(benchmark::State& state, int m, int n, int k) {
  Array<uint8_t> a(Product::size(m * k));
  Array<int8_t> w(Product::size(n * k));
  a.fill(1, 255);
  w.fill(-127, 127);
  bench::OneDnnProduct product(m, n, k, {a.data(), a.size()}, {w.data(), w.size()});
  product.run();
  if (!is_exact(product, m, n, k, a.data(), w.data())) {
    return state.SkipWithError("oneDNN's sums differ from the product's");
  }
  for (auto _ : state) product.run();
  report(state, static_cast<double>(n) * k * m, 0);
}

void add_onednn() {
  const auto add = [](const char* name, int m, int n, int k) {
    benchmark::RegisterBenchmark(("onednn/gemm_s8/" + std::string(name) + "/" + std::to_string(m)).c_str(),
                                 [m, n, k](benchmark::State& s) { onednn(s, m, n, k); })
        ->Unit(benchmark::kMicrosecond);
  };
  for (const int m : {16, 128}) {
    add("qkv", m, 3 * kHidden, kHidden);
    add("ffn1", m, kIntermediate, kHidden);
    add("ffn2", m, kHidden, kIntermediate);
  }
}
#endif

void add_all(const KernelTable& t) {
  const double integers = peak_of(t, false), floats = peak_of(t, true);
  if (integers > 0) benchmark::AddCustomContext(std::string(t.name) + " peak int8, GMAC/s", std::to_string(integers));
  if (floats > 0) benchmark::AddCustomContext(std::string(t.name) + " peak float, GMAC/s", std::to_string(floats));
  const auto add = [&t](const std::string& name, auto body) {
    benchmark::RegisterBenchmark((std::string(t.name) + "/" + name).c_str(), body)->Unit(benchmark::kMicrosecond);
  };
  for (const bool f : {false, true}) {
    const double peak = f ? floats : integers;
    const std::string type = f ? "f32" : "s8";
    for (const int m : {16, 64, 128, 512}) {
      add("encoder_products_" + type + "/" + std::to_string(m),
          [&t, m, f, peak](benchmark::State& s) { encoder_products(s, t, m, f, peak); });
    }
    for (const int m : {16, 128}) {
      const auto one = [&](const char* name, int n, int k, Activation act) {
        add("gemm_" + type + "/" + name + "/" + std::to_string(m),
            [&t, m, n, k, act, f, peak](benchmark::State& s) { product(s, t, m, n, k, act, f, peak); });
      };
      one("qkv", 3 * kHidden, kHidden, Activation::kNone);
      one("ffn1_gelu", kIntermediate, kHidden, Activation::kGelu);
      one("ffn2", kHidden, kIntermediate, Activation::kNone);
    }
    for (const int s : {16, 128, 512}) {
      add("attention_" + type + "/" + std::to_string(s),
          [&t, s, f, peak](benchmark::State& state) { attention(state, t, s, f, peak); });
    }
  }
  for (const int s : {16, 128, 512}) {
    add("attention_static/" + std::to_string(s),
        [&t, s, integers](benchmark::State& state) { attention_static(state, t, s, integers); });
  }
  add("layer_norm/128", [&t](benchmark::State& s) { layer_norm(s, t, 128); });
  add("quantize_rows/128", [&t](benchmark::State& s) { quantize_rows(s, t, 128); });
  add("quantize_static/128", [&t](benchmark::State& s) { quantize_static(s, t, 128); });
  add("gelu", [&t](benchmark::State& s) { activate(s, t, Activation::kGelu); });
  add("gelu_tanh", [&t](benchmark::State& s) { activate(s, t, Activation::kGeluTanh); });
  add("unpack_panel", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kInt8); });
  add("unpack_panel_s4", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kInt4); });
  add("unpack_panel_codebook", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kCodebook); });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const KernelTable* table : compiled_tables()) {
    if (is_available(*table, detect_cpu_features()) && table->isa != Isa::kScalar) add_all(*table);
  }
#if defined(__x86_64__)
  if (is_available(kAvxVnniEvexTable, detect_cpu_features())) add_all(kAvxVnniEvexTable);
#endif
#ifdef OCTOBERT_HAVE_ONEDNN
  add_onednn();
#endif
  benchmark::RunSpecifiedBenchmarks();
}
