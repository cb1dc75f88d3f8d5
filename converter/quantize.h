// Float weights -> what each scheme stores. Deterministic to the byte: no libm, one order of operations (built with
// -ffp-contract=off), and the split over threads touches no value.
#ifndef OCTOBERT_CONVERTER_QUANTIZE_H_
#define OCTOBERT_CONVERTER_QUANTIZE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/aligned_buffer.h"
#include "engine/format.h"
#include "engine/model.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// Symmetric int8, one scale a row (an output channel, or a word): the rule of docs/NUMERICS.md, "quantize a row":
// scale = absmax / 127, q = round_half_even(w * (127 / absmax)) in [-127, 127]; absmax < 1e-30: q = 0, scale = 1.
// Jacob et al. 2018 (arXiv:1712.05877) with zero point 0, per channel as Krishnamoorthi 2018 (arXiv:1806.08342) 3.1.
// w, q: [rows][columns]; scale: [rows]. Values must be finite.
void quantize_rows(Executor& executor, const float* w, size_t rows, size_t columns, int8_t* q, float* scale);

// A product's weights in the form that a scheme stores, and the memory for them.
class PackedLinear {
 public:
  // w: [n][k] row-major, bias: [n]; both are copied.
  PackedLinear(Executor& executor, format::Scheme scheme, std::span<const float> w, std::span<const float> bias, int n,
               int k);
  const Linear& view() const { return view_; }  // valid while this object lives, moved or not

 private:
  void pack_float(Executor& executor, std::span<const float> w);
  void pack_int8(Executor& executor, std::span<const float> w);

  Linear view_;
  AlignedBuffer weight_;
  std::vector<float> scale_, bias_;
  std::vector<int32_t> sum_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_QUANTIZE_H_
