// BERT's forward pass over a packed run of tokens: embeddings, encoder layers, classifier.
//
// The three parts can be called one by one, so that a caller need not have all layers in memory at once (the
// converter streams a float model through them beside the quantized one); forward() is the three in order.
#ifndef OCTOBERT_ENGINE_BERT_H_
#define OCTOBERT_ENGINE_BERT_H_

#include <functional>
#include <span>
#include <string_view>

#include "engine/model.h"
#include "engine/workspace.h"
#include "kernels/kernels.h"
#include "octobert/engine.h"

namespace octobert {

class Profile;

// One intermediate result of all tokens of the batch, [rows][columns], valid during the call only. Names, in the
// order of computation: "embeddings" (after their LayerNorm); "layer.N.qkv", "layer.N.context",
// "layer.N.attention_output", "layer.N.attention_norm", "layer.N.ffn1" (after the activation), "layer.N.ffn2",
// "layer.N.ffn_norm" (the layer's output); "logits".
struct Intermediate {
  std::string_view name;
  const float* data;
  int rows, columns;
  size_t stride;  // floats from one row to the next
};
using Observer = std::function<void(const Intermediate&)>;

// How to run, not what: results do not depend on any of it. The caller keeps everything alive during a call.
struct RunContext {
  const KernelTable* kernels = nullptr;
  Executor* executor = nullptr;         // null: the calling thread alone
  const CancelToken* cancel = nullptr;  // looked at between layers; null: never
  const Observer* observer = nullptr;   // called on the calling thread; null: nobody watches
  // The same, of "layer.N.scores", between qkv and context: what attention's softmax is given (attention_scores.h),
  // text by text, [head * query][key] of the first kObservedQueries. It is computed once more for that, which takes
  // time.
  const Observer* scores_observer = nullptr;
  Profile* profile = nullptr;  // engine/profile.h; null: not measured
};

// Common preconditions (the engine's public entries check them; here they are the caller's duty): ids below
// vocab_size, type ids below type_count, sequences of 1 to max_positions tokens, the default floating-point
// environment (FpGuard; worker threads are guarded here). batch.offsets may begin above 0 (a slice of a longer
// batch): offsets.front() is subtracted, ids and type_ids are those of the slice.
//
// `state` carries the batch from one part to the next; the batch's spans must stay valid until the last part is done.
// All throw Error(kCancelled) if the context's token is set, and whatever the observer throws.

// Word, type and position embeddings, then LayerNorm. Sizes the state's buffers.
void embed(const RunContext& run, const format::ModelConfig& config, const Embeddings& embeddings,
           const PackedBatch& batch, BertState& state);

// The product that reads a layer's result: the next layer's qkv, or the classifier.
struct NextProduct {
  InputForm form;                   // how it reads it: the last LayerNorm quantizes at once what is quantized
  const Linear* weights = nullptr;  // fetched ahead; null: not known

  static NextProduct of(const Linear& product) { return {InputForm::of(product), &product}; }
};

// One encoder layer on the state's hidden vectors. `index` names it to observer and profile. A wrong `next` costs time
// and changes nothing.
void encoder_layer(const RunContext& run, const format::ModelConfig& config, const EncoderLayer& layer, int index,
                   const NextProduct& next, BertState& state);

// logits: [tokens][label_count]. Non-finite values are left in place: see find_non_finite().
void classify(const RunContext& run, const format::ModelConfig& config, const Linear& classifier,
              std::span<float> logits, BertState& state);

void forward(const RunContext& run, const BertModel& model, const PackedBatch& batch, std::span<float> logits,
             BertState& state);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_BERT_H_
