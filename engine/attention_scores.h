// What attention's softmax is given, for those who measure it: the kernels keep it in scratch memory and never as a
// whole.
#ifndef OCTOBERT_ENGINE_ATTENTION_SCORES_H_
#define OCTOBERT_ENGINE_ATTENTION_SCORES_H_

#include <cstddef>
#include <vector>

#include "engine/model.h"
#include "engine/parallel.h"
#include "engine/workspace.h"
#include "kernels/kernels.h"

namespace octobert {

// Queries of a text whose scores are computed at most, its first ones: time and memory then grow with the text, not
// with its square.
inline constexpr size_t kObservedQueries = 64;

// Q K^T / sqrt(head_dim) of a text of `length` tokens whose first is `first_token`, from state.qkv: [head][query][key],
// of the first kObservedQueries queries.
// Queries and keys are those that the layer's attention multiplies: floats, or int8 times their scales. The same floats
// on every machine (docs/NUMERICS.md, "Scores that are measured"), but not bit for bit
// what the kernels' softmax sees, which takes the common factors later. Allocates if `scores` is too small.
void attention_scores(const KernelTable& kernels, const Workers& workers, const EncoderLayer& layer, int heads,
                      int head_dim, const BertState& state, int first_token, int length, std::vector<float>& scores);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ATTENTION_SCORES_H_
