// Every kernel by itself, on every instruction set that this processor has, one thread.
//
//   bench_kernels                                    all
//   bench_kernels --benchmark_filter=avx512_vnni/encoder_products
//
// Products report GMAC/s and their share of the peak, which is measured first, from registers alone. The matrices are
// BERT-base's; encoder_products are the four products of 12 layers one after the other, epilogue included (GELU in
// FFN1, but for "plain": scales, bias and floats only), with 85 MB of weights that no L2 holds. onednn/gemm_s8 is
// oneDNN's exact integer product (no scales, no activation) where that library is installed.
#include <benchmark/benchmark.h>

#include <functional>
#include <string>
#include <vector>

#include "apps/peak.h"
#include "bench/kernel_inputs.h"
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
using namespace octobert::bench;

constexpr int kGroup = 32;
constexpr double kPeakSeconds = 0.1;

void report(benchmark::State& state, double macs, double peak) {
  const double total = macs * static_cast<double>(state.iterations()) / 1e9;
  state.counters["GMAC/s"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
  if (peak > 0) state.counters["%peak"] = benchmark::Counter(100 * total / peak, benchmark::Counter::kIsRate);
}

// GMAC/s from registers alone; 0: not known.
struct Peaks {
  double integers = 0, floats = 0;
  double of(Numbers numbers) const { return multiplies_floats(numbers) ? floats : integers; }
};

Peaks measure_peaks(const KernelTable& table) {
  const auto measure = [&](bool floats, const char* type) {
    const PeakLoop* loop = peak_loop_of(table, floats);
    if (loop == nullptr) return 0.0;
    const double peak = measure_peak(*loop, kPeakSeconds);
    benchmark::AddCustomContext(std::string(table.name) + " peak " + type + ", GMAC/s", std::to_string(peak));
    return peak;
  };
  return {measure(false, "int8"), measure(true, "float")};
}

template <class Body>
void untimed(benchmark::State& state, const Body& body) {
  state.PauseTiming();
  body();
  state.ResumeTiming();
}

// As the engine does them: rows that the table wants to have taken apart are, before each product, and that counts.
// What brings them together again does not.
void encoder_products(benchmark::State& state, const KernelTable& table, int m, Numbers numbers, Activation ffn1,
                      double peak) {
  std::vector<Product> products;
  double macs = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    products.emplace_back(3 * kHidden, kHidden, Activation::kNone, numbers);
    products.emplace_back(kHidden, kHidden, Activation::kNone, numbers);
    products.emplace_back(kIntermediate, kHidden, ffn1, numbers);
    products.emplace_back(kHidden, kIntermediate, Activation::kNone, numbers);
  }
  for (const Product& p : products) macs += static_cast<double>(p.n) * p.k * m;
  Rows narrow(m), wide(m);
  narrow.quantize(table);
  wide.quantize(table);
  for (auto _ : state) {
    for (size_t i = 0; i < products.size(); ++i) {
      Product& p = products[i];
      Rows& rows = p.k == kHidden ? narrow : wide;
      if (!multiplies_floats(numbers)) rows.split(table, p.k);
      run_product(table, p, products[(i + 1) % products.size()], rows);
      if (rows.splits() != nullptr) untimed(state, [&] { rows.join(table, p.k); });
    }
  }
  report(state, macs, peak);
}

// The kernel alone, over and over: its rows were taken apart before.
void product(benchmark::State& state, const KernelTable& table, int m, int n, int k, Activation activation,
             Numbers numbers, double peak) {
  Product p(n, k, activation, numbers);
  Rows rows(m);
  rows.quantize(table);
  rows.split(table, k);
  for (auto _ : state) run_product(table, p, p, rows);
  report(state, static_cast<double>(n) * k * m, peak);
}

void split_rows(benchmark::State& state, const KernelTable& table, int m, int k) {
  Rows rows(m);
  rows.quantize(table);
  for (auto _ : state) {
    rows.split(table, k);
    untimed(state, [&] { rows.join(table, k); });
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * m * k);
}

void join_rows(benchmark::State& state, const KernelTable& table, int m, int k) {
  Rows rows(m);
  rows.quantize(table);
  for (auto _ : state) {
    untimed(state, [&] { rows.split(table, k); });
    rows.join(table, k);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * m * k);
}

// One head; the share counts the useful multiply-accumulates, softmax and packing are the rest.
void report_attention(benchmark::State& state, int s, double peak) { report(state, 2.0 * s * s * kHeadDim, peak); }

void attention(benchmark::State& state, const KernelTable& table, int s, bool floats, double peak) {
  const size_t tokens = as_size(s);
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
  const size_t tokens = as_size(s);
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
  Array<float> residual(as_size(m) * kHidden), gamma(kHidden), beta(kHidden), y(as_size(m) * kHidden);
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
void onednn(benchmark::State& state, int m, int n, int k, double peak) {
  Array<uint8_t> a(as_size(m * k));
  Array<int8_t> w(as_size(n * k));
  a.fill(1, 255);
  w.fill(-127, 127);
  OneDnnProduct product(m, n, k, {a.data(), a.size()}, {w.data(), w.size()});
  product.run();
  if (!product.is_exact({a.data(), a.size()}, {w.data(), w.size()})) {
    return state.SkipWithError("oneDNN's sums differ from the product's");
  }
  for (auto _ : state) product.run();
  report(state, static_cast<double>(n) * k * m, peak);
}

void add_onednn(double peak) {
  const auto add = [peak](const char* name, int m, int n, int k) {
    benchmark::RegisterBenchmark(("onednn/gemm_s8/" + std::string(name) + "/" + std::to_string(m)).c_str(),
                                 [m, n, k, peak](benchmark::State& s) { onednn(s, m, n, k, peak); })
        ->Unit(benchmark::kMicrosecond);
  };
  for (const int m : {16, 64, 128}) {
    add("qkv", m, 3 * kHidden, kHidden);
    add("ffn1", m, kIntermediate, kHidden);
    add("ffn2", m, kHidden, kIntermediate);
  }
}
#endif

void add(const KernelTable& table, const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark((table.name + ("/" + name)).c_str(), body)->Unit(benchmark::kMicrosecond);
}

void add_products(const KernelTable& t, const Peaks& peaks) {
  const auto encoder = [&t, &peaks](const std::string& name, Numbers numbers, Activation ffn1) {
    for (const int m : {16, 64, 128, 512}) {
      add(t, name + "/" + std::to_string(m),
          [=, &t, peak = peaks.of(numbers)](benchmark::State& s) { encoder_products(s, t, m, numbers, ffn1, peak); });
    }
  };
  const auto one = [&t, &peaks](const std::string& name, Numbers numbers, int n, int k, Activation activation) {
    for (const int m : {16, 128}) {
      add(t, name + "/" + std::to_string(m), [=, &t, peak = peaks.of(numbers)](benchmark::State& s) {
        product(s, t, m, n, k, activation, numbers, peak);
      });
    }
  };
  encoder("encoder_products_s8", Numbers::kDynamic, Activation::kGelu);
  encoder("encoder_products_s8_plain", Numbers::kDynamic, Activation::kNone);
  encoder("encoder_products_f32", Numbers::kFloat, Activation::kGelu);
  one("gemm_s8/qkv", Numbers::kDynamic, 3 * kHidden, kHidden, Activation::kNone);
  one("gemm_s8/ffn1", Numbers::kDynamic, kIntermediate, kHidden, Activation::kNone);
  one("gemm_s8/ffn1_gelu", Numbers::kDynamic, kIntermediate, kHidden, Activation::kGelu);
  one("gemm_s8/ffn2", Numbers::kDynamic, kHidden, kIntermediate, Activation::kNone);
  one("gemm_s8_static/qkv", Numbers::kStatic, 3 * kHidden, kHidden, Activation::kNone);
  one("gemm_s8_static/ffn1_gelu", Numbers::kStatic, kIntermediate, kHidden, Activation::kGelu);
  one("gemm_f32/qkv", Numbers::kFloat, 3 * kHidden, kHidden, Activation::kNone);
  one("gemm_f32/ffn1_gelu", Numbers::kFloat, kIntermediate, kHidden, Activation::kGelu);
  one("gemm_f32/ffn2", Numbers::kFloat, kHidden, kIntermediate, Activation::kNone);
  if (t.gemm_w8 != nullptr) {
    one("gemm_w8/qkv", Numbers::kWeightOnly, 3 * kHidden, kHidden, Activation::kNone);
    one("gemm_w8/ffn2", Numbers::kWeightOnly, kHidden, kIntermediate, Activation::kNone);
  }
}

void add_attention(const KernelTable& t, const Peaks& peaks) {
  for (const int s : {16, 128, 512}) {
    const std::string size = "/" + std::to_string(s);
    add(t, "attention_s8" + size, [=, &t](benchmark::State& state) { attention(state, t, s, false, peaks.integers); });
    add(t, "attention_f32" + size, [=, &t](benchmark::State& state) { attention(state, t, s, true, peaks.floats); });
    add(t, "attention_static" + size,
        [=, &t](benchmark::State& state) { attention_static(state, t, s, peaks.integers); });
  }
}

void add_rows(const KernelTable& t) {
  if (t.split_rows != nullptr) {
    for (const int k : {kHidden, kIntermediate}) {
      const std::string size = "/128x" + std::to_string(k);
      add(t, "split_rows" + size, [=, &t](benchmark::State& s) { split_rows(s, t, 128, k); });
      add(t, "join_rows" + size, [=, &t](benchmark::State& s) { join_rows(s, t, 128, k); });
    }
  }
  add(t, "layer_norm/128", [&t](benchmark::State& s) { layer_norm(s, t, 128); });
  add(t, "quantize_rows/128", [&t](benchmark::State& s) { quantize_rows(s, t, 128); });
  add(t, "quantize_static/128", [&t](benchmark::State& s) { quantize_static(s, t, 128); });
  add(t, "gelu", [&t](benchmark::State& s) { activate(s, t, Activation::kGelu); });
  add(t, "gelu_tanh", [&t](benchmark::State& s) { activate(s, t, Activation::kGeluTanh); });
  add(t, "unpack_panel", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kInt8); });
  add(t, "unpack_panel_s4", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kInt4); });
  add(t, "unpack_panel_codebook", [&t](benchmark::State& s) { unpack_panel(s, t, Stored::kCodebook); });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::vector<const KernelTable*> tables(compiled_tables().begin(), compiled_tables().end());
#if defined(__x86_64__)
  tables.push_back(&kAvxVnniEvexTable);
#endif
  [[maybe_unused]] double onednn_peak = 0;  // it uses what it finds: AVX-512 VNNI where that is there
  for (const KernelTable* table : tables) {
    if (table->isa == Isa::kScalar || !is_available(*table, detect_cpu_features())) continue;
    const Peaks peaks = measure_peaks(*table);
    if (table->isa == Isa::kAvx512Vnni) onednn_peak = peaks.integers;
    add_products(*table, peaks);
    add_attention(*table, peaks);
    add_rows(*table);
  }
#ifdef OCTOBERT_HAVE_ONEDNN
  add_onednn(onednn_peak);
#endif
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
