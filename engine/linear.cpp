#include "engine/linear.h"

#include <algorithm>
#include <array>

#include "engine/panel_split.h"
#include "kernels/cpu.h"

namespace octobert {

using format::Scheme;

namespace {

// Panels that are unpacked together: as many as leave half of the L2 to the activations, and no more than the kernels
// work on at once.
int unpacked_panels(int inputs) {
  const size_t panel_bytes = packed_f32_panel_floats(static_cast<size_t>(inputs)) * sizeof(float);
  return static_cast<int>(std::clamp<size_t>(detect_cache_sizes().l2 / 2 / panel_bytes, 1, kPanelsAtOnce));
}

// What does not depend on the range of panels.
struct Call {
  const KernelTable& kernels;
  const Workers& workers;
  const Linear& product;
  Activation activation;
  const ActivationRows& input;
  int rows;
  const ActivationRows& dst;
  const LinearOutput& output;
  const BertState& state;
  void* splits = nullptr;  // of an integer product's input: GemmS8Args::splits
};

constexpr int kMaxPieces = 16;

// Splits the input rows of an integer product, a piece a worker; GemmS8Args::splits, or null where they stay as they
// are.
void* split_input(const KernelTable& kernels, const Workers& workers, const Linear& product,
                  const ActivationRows& input, int rows, const BertState& state) {
  if (kernels.split_rows == nullptr) return nullptr;
  std::byte* const splits = state.block(workers.first).splits;
  const int shares = std::min(workers.count, kMaxPieces), piece = (rows + shares - 1) / shares;
  const auto args = [&](int i) {
    const int begin = i * piece;
    return SplitRowsArgs{.a = input.q + static_cast<size_t>(begin) * input.q_stride,
                         .lda = input.q_stride,
                         .splits = splits + static_cast<size_t>(begin) * split_row_bytes(product.k),
                         .m = std::min(piece, rows - begin),
                         .k = product.k,
                         .zero_point = product.input_zero[0]};
  };
  const int pieces = (rows + piece - 1) / piece;
  std::array<bool, kMaxPieces> split{};
  parallel_for(workers, pieces, [&](int, int i) { split[static_cast<size_t>(i)] = kernels.split_rows(args(i)); });
  if (std::all_of(split.begin(), split.begin() + pieces, [](bool done) { return done; })) return splits;
  for (int i = 0; i < pieces; ++i) {
    if (split[static_cast<size_t>(i)]) kernels.join_rows(args(i));
  }
  return nullptr;
}

// The weights that a worker reads after share i: of its own next share, or of its first of the next product. One that
// helps another has, but for the last share, fetched a few lines for nothing.
PanelsAhead weights_after(const Call& c, int worker, const PanelSplit& split, int i) {
  const int number = worker - c.workers.first;
  const Linear* product = &c.product;
  int panel = split[i].end;
  if (i + 1 == split.count() || i + 1 == split.first(number + 1)) {
    product = c.output.next;
    if (product == nullptr || !is_integer(*product)) return {};
    const PanelSplit next(product->n / product->input_parts, c.workers.count);
    if (number >= next.count()) return {};
    panel = next[next.first(number)].begin;
  }
  const size_t panel_bytes = packed_s8_panel_bytes(static_cast<size_t>(product->k));
  return {product->weight_s8 + static_cast<size_t>(panel) * panel_bytes, panel_bytes};
}

void integer_product(const Call& c, int worker, const PanelSplit& split, int share, uint32_t* row_max_bits) {
  const InputForm* bytes = c.output.bytes;
  const PanelRange panels = split[share];
  c.kernels.gemm_s8({.a = c.input.q,
                     .lda = c.input.q_stride,
                     .a_scale = c.product.scheme == Scheme::kDynamic ? c.input.scale : nullptr,
                     .b = c.product.weight_s8,
                     .b_scale = c.product.scale,
                     .b_sum = c.product.sum,
                     .bias = c.product.bias,
                     .dst = c.dst.data,
                     .ldd = c.dst.stride,
                     .row_max_bits = row_max_bits,
                     .m = c.rows,
                     .k = c.product.k,
                     .panel_begin = panels.begin,
                     .panel_end = panels.end,
                     .activation = c.activation,
                     .a_zero_point = c.product.input_zero[0],
                     .q = bytes == nullptr ? nullptr : c.dst.q,
                     .ldq = c.dst.q_stride,
                     .q_inv = bytes == nullptr ? nullptr : bytes->inv,
                     .q_zero_point = bytes == nullptr ? 0 : bytes->zero,
                     .clipped = c.state.clip_counter(worker, c.output.clip_site),
                     .splits = c.splits,
                     .kept = c.state.scratch(worker).data,
                     .after = weights_after(c, worker, split, share),
                     .fetch_results = fetches_results()});
}

// A product of floats over some panels, but for where its weights are.
GemmF32Args float_args(const Call& c, PanelRange panels) {
  return {.a = c.input.data,
          .lda = c.input.stride,
          .b = nullptr,
          .b_scale = nullptr,
          .bias = c.product.bias,
          .dst = c.dst.data,
          .ldd = c.dst.stride,
          .m = c.rows,
          .k = c.product.k,
          .panel_begin = panels.begin,
          .panel_end = panels.end,
          .activation = c.activation};
}

void float_product(const Call& c, PanelRange panels) {
  GemmF32Args args = float_args(c, panels);
  args.b = c.product.weight_f32;
  c.kernels.gemm_f32(args);
}

// One panel of weights of whatever form to floats.
void unpack(const Call& c, int panel, float* dst) {
  const Linear& product = c.product;
  const auto p = static_cast<size_t>(panel), k = static_cast<size_t>(product.k);
  switch (product.scheme) {
    case Scheme::kWeightOnlyInt4:
      return c.kernels.unpack_panel_s4({.panel = product.weight_4bit + p * packed_4bit_panel_bytes(k),
                                        .k = product.k,
                                        .group_scale = product.group_scale + p * kPanelWidth,
                                        .group_stride = padded_outputs(static_cast<size_t>(product.n)),
                                        .group_size = product.group_size,
                                        .dst = dst});
    case Scheme::kCodebook:
      return c.kernels.unpack_panel_codebook(product.weight_4bit + p * packed_4bit_panel_bytes(k), product.k,
                                             product.codebook, dst);
    default:
      return c.kernels.unpack_panel(product.weight_s8 + p * packed_s8_panel_bytes(k), product.k, dst);
  }
}

// Whether int8 weights become floats in registers. Each register block of rows makes them again: one or two do.
bool multiplies_as_packed(const Call& c) {
  constexpr int kFewRows = 16;
  return c.kernels.gemm_w8 != nullptr && c.product.scheme == Scheme::kWeightOnly && c.rows <= kFewRows &&
         c.product.k % kGroupDepth == 0;
}

void packed_weight_only_product(const Call& c, PanelRange panels) {
  GemmF32Args args = float_args(c, panels);
  args.b_s8 = c.product.weight_s8;
  args.b_scale = c.product.scale;
  c.kernels.gemm_w8(args);
}

// The weights become floats, a few panels at a time, and stay in the cache while all rows pass over them.
void weight_only_product(const Call& c, int worker, PanelRange panels) {
  if (multiplies_as_packed(c)) return packed_weight_only_product(c, panels);
  auto* unpacked = reinterpret_cast<float*>(c.state.scratch(worker).data);
  const int at_once = unpacked_panels(c.product.k);
  for (int begin = panels.begin; begin < panels.end; begin += at_once) {
    const int count = std::min(at_once, panels.end - begin);
    for (int i = 0; i < count; ++i) {
      unpack(c, begin + i,
             unpacked + static_cast<size_t>(i) * packed_f32_panel_floats(static_cast<size_t>(c.product.k)));
    }
    const size_t output = static_cast<size_t>(begin) * kPanelWidth;
    GemmF32Args args = float_args(c, {0, count});
    args.b = unpacked;
    if (c.product.scale != nullptr) args.b_scale = c.product.scale + output;
    args.bias += output;
    args.dst += output;
    c.kernels.gemm_f32(args);
  }
}

// Several workers raise the same rows' maxima: each its own, which are then brought together.
void integer_product_with_maxima(const Call& c, const PanelSplit& split) {
  const Workers& workers = c.workers;
  const auto of_worker = [&](int w) { return c.state.scratch(workers.first + w).row_max_bits; };
  const int count = c.rows * kPanelWidth;
  for (int w = 0; w < workers.count; ++w) std::fill_n(of_worker(w), count, 0u);
  parallel_for(workers, split.count(),
               [&](int worker, int i) { integer_product(c, worker, split, i, c.state.scratch(worker).row_max_bits); });
  uint32_t* row_max_bits = c.output.row_max_bits;
  for (int w = 0; w < workers.count; ++w) {
    for (int i = 0; i < count; ++i) row_max_bits[i] = std::max(row_max_bits[i], of_worker(w)[i]);
  }
}

}  // namespace

size_t linear_scratch_bytes(int inputs) {
  return static_cast<size_t>(unpacked_panels(inputs)) * packed_f32_panel_floats(static_cast<size_t>(inputs)) *
         sizeof(float);
}

void linear(const KernelTable& kernels, const Workers& workers, const Linear& product, Activation activation,
            const ActivationRows& input, int rows, const ActivationRows& dst, const LinearOutput& output,
            const BertState& state) {
  Call call{kernels, workers, product, activation, input, rows, dst, output, state};
  const PanelSplit split(product.n, workers.count);
  if (output.row_max_bits != nullptr) std::fill_n(output.row_max_bits, rows * kPanelWidth, 0u);
  if (is_integer(product)) {
    call.splits = split_input(kernels, workers, product, input, rows, state);
    if (output.row_max_bits != nullptr && workers.count > 1) return integer_product_with_maxima(call, split);
    return parallel_for(workers, split.count(),
                        [&](int worker, int i) { integer_product(call, worker, split, i, output.row_max_bits); });
  }
  if (product.scheme == Scheme::kFloat) {
    return parallel_for(workers, split.count(), [&](int, int i) { float_product(call, split[i]); });
  }
  parallel_for(workers, split.count(), [&](int worker, int i) { weight_only_product(call, worker, split[i]); });
}

}  // namespace octobert
