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

// Memory that a weight-only product of `inputs` inputs wants of each worker, for unpacked panels.
size_t linear_scratch_bytes(int inputs);

// dst[m][0 .. n) = activation(product(input[m])) for `rows` rows; up to padded_outputs(n) columns of dst are written.
// A dynamic product reads input.q and input.scale, the others input.data. With row_max_bits (a dynamic product only)
// row_max_bits[m] becomes the bits of the row's largest magnitude. The outputs are split over the workers, whose
// scratch memory in `state` is used.
void linear(const KernelTable& kernels, const Workers& workers, const Linear& product, Activation activation,
            const ActivationRows& input, int rows, float* dst, size_t ldd, uint32_t* row_max_bits,
            const BertState& state);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_LINEAR_H_
