// One matrix product of the model under its scheme.
#ifndef OCTOBERT_ENGINE_LINEAR_H_
#define OCTOBERT_ENGINE_LINEAR_H_

#include <cstddef>
#include <cstdint>

#include "engine/model.h"
#include "engine/parallel.h"
#include "engine/workspace.h"
#include "kernels/kernels.h"

namespace octobert {

// Memory that a product of `inputs` inputs wants of each worker: for weight-only's unpacked panels (few rows need
// none); the panel that an integer product keeps (GemmS8Args::kept) is smaller.
size_t linear_scratch_bytes(int inputs);

// Whether a product is one of integers, which can give its rows' maxima, or bytes, on the way out.
inline bool is_integer(const Linear& product) {
  return product.scheme == format::Scheme::kDynamic || product.scheme == format::Scheme::kStatic;
}

// What a product's results are to be beside or instead of floats (an integer product only, at most one of the two), and
// what follows it.
struct LinearOutput {
  uint32_t* row_max_bits = nullptr;  // [rows][kPanelWidth]: becomes what GemmS8Args says
  const InputForm* bytes = nullptr;  // a static form: rows.q is written, rows.data is not
  size_t clip_site = 0;              // with bytes
  const Linear* next = nullptr;      // the product that these workers do next (of one with several input parts, the
                                     // first part), whose first weights an integer product fetches into L2; null: not
                                     // known
};

// dst.data[m][0 .. n) = activation(product(input[m])) for `rows` rows; up to padded_outputs(n) columns of dst are
// written. A dynamic product reads input.q and input.scale, a static one input.q, the others input.data. The bytes of
// input.q are of no use afterwards (SplitRowsArgs). The outputs are split over the workers, whose scratch memory in
// `state` is used, as is the first one's block. The product has one input part.
void linear(const KernelTable& kernels, const Workers& workers, const Linear& product, Activation activation,
            const ActivationRows& input, int rows, const ActivationRows& dst, const LinearOutput& output,
            const BertState& state);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_LINEAR_H_
