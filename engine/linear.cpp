#include "engine/linear.h"

#include <algorithm>

#include "kernels/cpu.h"

namespace octobert {

using format::Scheme;

namespace {

struct PanelRange {
  int begin, end;
};

// Shares of the outputs, several a worker, so that none waits long for another; whole multiples of kPanelsAtOnce, which
// every instruction set's register blocking divides into well.
class PanelSplit {
 public:
  PanelSplit(int n, const Workers& workers) : panels_(static_cast<int>(panel_count(static_cast<size_t>(n)))) {
    if (workers.count == 1) {
      share_ = panels_;
      return;
    }
    const int wanted = (panels_ + workers.count * kSharesPerWorker - 1) / (workers.count * kSharesPerWorker);
    share_ = (wanted + kPanelsAtOnce - 1) / kPanelsAtOnce * kPanelsAtOnce;
  }
  int count() const { return (panels_ + share_ - 1) / share_; }
  PanelRange operator[](int i) const { return {i * share_, std::min((i + 1) * share_, panels_)}; }

 private:
  static constexpr int kPanelsAtOnce = 4;
  static constexpr int kSharesPerWorker = 3;
  int panels_, share_;
};

// Panels that are unpacked together: as many as leave half of the L2 to the activations, and no more than the kernels
// work on at once.
int unpacked_panels(int inputs) {
  const size_t panel_bytes = packed_f32_panel_floats(static_cast<size_t>(inputs)) * sizeof(float);
  return static_cast<int>(std::clamp<size_t>(detect_cache_sizes().l2 / 2 / panel_bytes, 1, 4));
}

// What does not depend on the range of panels.
struct Call {
  const KernelTable& kernels;
  const Linear& product;
  Activation activation;
  const ActivationRows& input;
  int rows;
  float* dst;
  size_t ldd;
};

void dynamic_product(const Call& c, PanelRange panels, uint32_t* row_max_bits) {
  c.kernels.gemm_s8({.a = c.input.q,
                     .lda = c.input.q_stride,
                     .a_scale = c.input.scale,
                     .b = c.product.weight_s8,
                     .b_scale = c.product.scale,
                     .b_sum = c.product.sum,
                     .bias = c.product.bias,
                     .dst = c.dst,
                     .ldd = c.ldd,
                     .row_max_bits = row_max_bits,
                     .m = c.rows,
                     .k = c.product.k,
                     .panel_begin = panels.begin,
                     .panel_end = panels.end,
                     .activation = c.activation});
}

void float_product(const Call& c, PanelRange panels) {
  c.kernels.gemm_f32({.a = c.input.data,
                      .lda = c.input.stride,
                      .b = c.product.weight_f32,
                      .b_scale = nullptr,
                      .bias = c.product.bias,
                      .dst = c.dst,
                      .ldd = c.ldd,
                      .m = c.rows,
                      .k = c.product.k,
                      .panel_begin = panels.begin,
                      .panel_end = panels.end,
                      .activation = c.activation});
}

// The int8 weights become floats, a few panels at a time, and stay in the cache while all rows pass over them.
void weight_only_product(const Call& c, PanelRange panels, float* unpacked) {
  const int at_once = unpacked_panels(c.product.k);
  const auto k = static_cast<size_t>(c.product.k);
  for (int begin = panels.begin; begin < panels.end; begin += at_once) {
    const int count = std::min(at_once, panels.end - begin);
    for (int i = 0; i < count; ++i) {
      c.kernels.unpack_panel(c.product.weight_s8 + static_cast<size_t>(begin + i) * packed_s8_panel_bytes(k),
                             c.product.k, unpacked + static_cast<size_t>(i) * packed_f32_panel_floats(k));
    }
    const size_t output = static_cast<size_t>(begin) * kPanelWidth;
    c.kernels.gemm_f32({.a = c.input.data,
                        .lda = c.input.stride,
                        .b = unpacked,
                        .b_scale = c.product.scale + output,
                        .bias = c.product.bias + output,
                        .dst = c.dst + output,
                        .ldd = c.ldd,
                        .m = c.rows,
                        .k = c.product.k,
                        .panel_begin = 0,
                        .panel_end = count,
                        .activation = c.activation});
  }
}

// Several workers raise the same rows' maxima: each its own, which are then brought together.
void dynamic_product_with_maxima(const Call& c, const Workers& workers, const PanelSplit& split, uint32_t* row_max_bits,
                                 const BertState& state) {
  const auto of_worker = [&](int w) { return state.scratch(workers.first + w).row_max_bits; };
  for (int w = 0; w < workers.count; ++w) std::fill_n(of_worker(w), c.rows, 0u);
  parallel_for(workers, split.count(),
               [&](int worker, int i) { dynamic_product(c, split[i], state.scratch(worker).row_max_bits); });
  for (int w = 0; w < workers.count; ++w) {
    for (int m = 0; m < c.rows; ++m) row_max_bits[m] = std::max(row_max_bits[m], of_worker(w)[m]);
  }
}

}  // namespace

size_t linear_scratch_bytes(int inputs) {
  return static_cast<size_t>(unpacked_panels(inputs)) * packed_f32_panel_floats(static_cast<size_t>(inputs)) *
         sizeof(float);
}

void linear(const KernelTable& kernels, const Workers& workers, const Linear& product, Activation activation,
            const ActivationRows& input, int rows, float* dst, size_t ldd, uint32_t* row_max_bits,
            const BertState& state) {
  const Call call{kernels, product, activation, input, rows, dst, ldd};
  const PanelSplit split(product.n, workers);
  if (row_max_bits != nullptr) std::fill_n(row_max_bits, rows, 0u);
  switch (product.scheme) {
    case Scheme::kDynamic:
      if (row_max_bits != nullptr && workers.count > 1) {
        return dynamic_product_with_maxima(call, workers, split, row_max_bits, state);
      }
      return parallel_for(workers, split.count(), [&](int, int i) { dynamic_product(call, split[i], row_max_bits); });
    case Scheme::kWeightOnly:
      return parallel_for(workers, split.count(), [&](int worker, int i) {
        weight_only_product(call, split[i], reinterpret_cast<float*>(state.scratch(worker).data));
      });
    case Scheme::kFloat:
      return parallel_for(workers, split.count(), [&](int, int i) { float_product(call, split[i]); });
  }
}

}  // namespace octobert
