// Float weights -> what each scheme stores. Deterministic to the byte: no libm, one order of operations (built with
// -ffp-contract=off), and the split over threads touches no value.
#ifndef OCTOBERT_CONVERTER_QUANTIZE_H_
#define OCTOBERT_CONVERTER_QUANTIZE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "converter/gptq.h"
#include "engine/aligned_buffer.h"
#include "engine/format.h"
#include "engine/model.h"
#include "octobert/converter.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// Symmetric int8, one scale a row (an output channel, or a word): the rule of docs/NUMERICS.md, "quantize a row":
// scale = absmax / 127, q = round_half_even(w * (127 / absmax)) in [-127, 127]; absmax < 1e-30: q = 0, scale = 1.
// Jacob et al. 2018 (arXiv:1712.05877) with zero point 0, per channel as Krishnamoorthi 2018 (arXiv:1806.08342) 3.1.
// w, q: [rows][columns]; scale: [rows]. Values must be finite.
void quantize_rows(Executor& executor, const float* w, size_t rows, size_t columns, int8_t* q, float* scale);

// Int8 weights that a checkpoint brings along (import_quantized.h): q [n][k] in [-127, 127], scale [n]; empty: none.
// They are weights of the input times input_inv, where that is not empty: [input_parts][k up to a multiple of 16], of
// several parts each for its share of the outputs.
struct GivenInt8 {
  std::vector<int8_t> q;
  std::vector<float> scale, input_inv;
  size_t input_parts = 1;

  // Of the index-th of `count` equal shares of the outputs; count is a multiple of input_parts.
  GivenInt8 part(size_t index, size_t count) const;
};

// Fixed quantization of a product's input: q = round_to_i8(fma(x, inv[k], zero)), x = (q - zero) * scale[k].
struct StaticInput {
  std::vector<float> inv, scale;  // inv: [k up to a multiple of 16], zero past k; scale: [k]; inv = 1 / scale
  int32_t zero = 0;
  friend bool operator==(const StaticInput&, const StaticInput&) = default;
};

// How weights are to be stored. What is null or empty is not done.
struct PackSpec {
  format::Scheme scheme = format::Scheme::kFloat;
  int group_size = kDefaultGroupSize;         // kWeightOnlyInt4: inputs that share a scale, a multiple of 8
  const StaticInput* static_input = nullptr;  // kStatic: needed
  std::span<const float> smooth{};            // [k]: inputs are divided by it (kDynamic) or seen so (all: GPTQ)
  bool smooth_dynamic = true;                 // false: kDynamic's are not
  const ErrorForm* form = nullptr;            // of the inputs divided by `smooth`: GPTQ, then descent
  const InverseFactor* inverse = nullptr;     // its; both or none
  std::span<const double> input_mean{};       // [k] of the inputs: bias correction
  const GivenInt8* given = nullptr;           // what int8 schemes store instead of quantizing
};

// A product's weights in the form that a scheme stores, and the memory for them.
//
// Bias correction: Nagel et al. 2019 (arXiv:1906.04721), section 4.2, equations 14 to 17: the error of the weights
// times the inputs' mean is taken out of the bias, so that quantization does not move the outputs' mean.
class PackedLinear {
 public:
  PackedLinear(Executor& executor, const PackSpec& spec, std::span<const float> w, std::span<const float> bias, int n,
               int k);
  // w: [n][k] row-major, bias: [n]; both are copied. given: as in PackSpec.
  PackedLinear(Executor& executor, format::Scheme scheme, std::span<const float> w, std::span<const float> bias, int n,
               int k, const GivenInt8* given = nullptr);
  // Static products of one input, each of whole panels and with its own quantization of the input, as one: its outputs
  // are theirs, one after the other (Linear::input_parts).
  explicit PackedLinear(std::span<const PackedLinear> parts);
  const Linear& view() const { return view_; }  // valid while this object lives, moved or not

 private:
  void pack_float(Executor& executor, std::span<const float> w);
  void pack_int8(Executor& executor, const PackSpec& spec, std::span<const float> w);
  void pack_int4(Executor& executor, const PackSpec& spec, std::span<const float> w);
  void pack_codebook(Executor& executor, const PackSpec& spec, std::span<const float> w);
  void view_int8();
  void correct_bias(Executor& executor, const PackSpec& spec, std::span<const float> w,
                    const std::function<double(size_t n, size_t k)>& stored);

  Linear view_;
  AlignedBuffer weight_;
  std::vector<float> scale_, bias_, input_inv_, codebook_;  // scale_: of groups too
  std::vector<int32_t> sum_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_QUANTIZE_H_
