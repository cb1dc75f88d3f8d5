#include "engine/bert.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/linear.h"
#include "engine/parallel.h"
#include "engine/profile.h"
#include "octobert/error.h"

namespace octobert {

using format::ModelConfig;
using format::Scheme;

namespace {

// Rows [begin, begin + count) of the batch.
struct Rows {
  int begin, count;
};

// What every step needs to know.
struct Pass {
  const RunContext& run;
  const ModelConfig& config;
  BertState& state;
  int layer;  // -1: none

  const KernelTable& kernels() const { return *run.kernels; }
  int hidden_size() const { return static_cast<int>(config.hidden_size); }
  Workers all() const { return {run.executor, state.workers, 0}; }
  StepTimer timer(const Workers& workers, Step step) const { return {run.profile, workers, layer, step}; }

  // All of the batch's rows at once: the state is prepared that way if there is an observer.
  void observe(const char* name, const float* data, int columns, size_t stride) const {
    if (run.observer == nullptr) return;
    const std::string full = layer < 0 ? name : "layer." + std::to_string(layer) + "." + name;
    (*run.observer)({full, data, state.tokens, columns, stride});
  }
};

void throw_if_cancelled(const RunContext& run) {
  if (run.cancel != nullptr && run.cancel->cancelled()) throw Error(ErrorCode::kCancelled, "cancelled");
}

// step(workers, rows) over the plan's blocks: each by a worker of its own, or one by all.
template <class Body>
void for_each_block(const Pass& pass, const Body& step) {
  const BertState& state = pass.state;
  if (state.plan.shared) return step(pass.all(), Rows{0, state.tokens});
  parallel_for(pass.all(), state.plan.block_count, [&](int worker, int block) {
    const int begin = block * state.plan.block_rows;
    step(Workers::only(worker), Rows{begin, std::min(state.plan.block_rows, state.tokens - begin)});
  });
}

// body(rows) over pieces of a block's rows, for steps that treat each row by itself. Below the piece's size it is
// not worth waking another thread.
template <class Body>
void for_each_row(const Workers& workers, int count, const Body& body) {
  constexpr int kPiece = 16;
  if (workers.count == 1) return body(Rows{0, count});
  parallel_for(workers, (count + kPiece - 1) / kPiece, [&](int, int i) {
    body(Rows{i * kPiece, std::min(kPiece, count - i * kPiece)});
  });
}

void quantize(const Pass& pass, const Workers& workers, Step step, const ActivationRows& rows, int count, int columns,
              const uint32_t* row_max_bits) {
  const StepTimer timer = pass.timer(workers, step);
  for_each_row(workers, count, [&](Rows r) {
    const ActivationRows part = rows.from(r.begin);
    pass.kernels().quantize_rows({.src = part.data,
                                  .lds = part.stride,
                                  .row_max_bits = row_max_bits == nullptr ? nullptr : row_max_bits + r.begin,
                                  .dst = part.q,
                                  .ldd = part.q_stride,
                                  .scale = part.scale,
                                  .m = r.count,
                                  .k = columns});
  });
}

// hidden = LayerNorm(x + hidden), or LayerNorm(hidden) without x; quantized as well if a dynamic product reads it.
void layer_norm(const Pass& pass, const Workers& workers, Step step, const ActivationRows* x,
                const ActivationRows& hidden, int count, const LayerNormWeights& weights, bool quantized) {
  const StepTimer timer = pass.timer(workers, step);
  for_each_row(workers, count, [&](Rows r) {
    const ActivationRows y = hidden.from(r.begin);
    const float* input = x == nullptr ? y.data : x->data + static_cast<size_t>(r.begin) * x->stride;
    pass.kernels().layer_norm({.x = input,
                               .ldx = x == nullptr ? y.stride : x->stride,
                               .residual = x == nullptr ? nullptr : y.data,
                               .ldr = y.stride,
                               .gamma = weights.gamma,
                               .beta = weights.beta,
                               .eps = pass.config.layer_norm_eps,
                               .y = y.data,
                               .ldy = y.stride,
                               .q = quantized ? y.q : nullptr,
                               .ldq = y.q_stride,
                               .scale = quantized ? y.scale : nullptr,
                               .m = r.count,
                               .n = pass.hidden_size()});
  });
}

void product(const Pass& pass, const Workers& workers, Step step, const Linear& weights, Activation activation,
             const ActivationRows& input, int rows, const ActivationRows& output, uint32_t* row_max_bits = nullptr) {
  const StepTimer timer = pass.timer(workers, step);
  linear(pass.kernels(), workers, weights, activation, input, rows, output.data, output.stride, row_max_bits,
         pass.state);
}

// Query, key and value of every token.
void project_qkv(const Pass& pass, const EncoderLayer& layer) {
  BertState& state = pass.state;
  for_each_block(pass, [&](const Workers& workers, Rows rows) {
    const ActivationRows hidden = state.hidden.from(rows.begin);
    if (layer.qkv.scheme == Scheme::kDynamic && !state.hidden_is_quantized) {
      quantize(pass, workers, Step::kQuantizeInput, hidden, rows.count, pass.hidden_size(), nullptr);
    }
    product(pass, workers, Step::kQkv, layer.qkv, Activation::kNone, hidden, rows.count, state.qkv.from(rows.begin));
  });
  pass.observe("qkv", state.qkv.data, layer.qkv.n, state.qkv.stride);
}

// softmax(Q K^T / sqrt(head_dim)) V, text by text and head by head.
void attend(const Pass& pass, const EncoderLayer& layer) {
  BertState& state = pass.state;
  const auto heads = static_cast<int>(pass.config.head_count);
  const int head_dim = pass.hidden_size() / heads;
  const auto attention =
      layer.attention == Scheme::kDynamic ? pass.kernels().attention_s8 : pass.kernels().attention_f32;
  {
    const Workers workers = pass.all();
    const StepTimer timer = pass.timer(workers, Step::kAttention);
    parallel_for(workers, static_cast<int>(state.attention.size()) * heads, [&](int worker, int i) {
      const AttentionItem& item = state.attention[static_cast<size_t>(i / heads)];
      const auto column = static_cast<size_t>(i % heads) * static_cast<size_t>(head_dim);
      const float* q = state.qkv.from(item.first_token).data + column;
      attention({.q = q,
                 .k = q + pass.hidden_size(),
                 .v = q + 2 * pass.hidden_size(),
                 .ld = state.qkv.stride,
                 .dst = state.context.from(item.first_token).data + column,
                 .ldd = state.context.stride,
                 .scratch = state.scratch(worker).data,
                 .s = item.length,
                 .head_dim = head_dim,
                 .row_begin = item.row_begin,
                 .row_end = item.row_end});
    });
  }
  pass.observe("context", state.context.data, pass.hidden_size(), state.context.stride);
}

// From attention's output to the layer's: projection, residual, LayerNorm, feed-forward network, residual, LayerNorm.
void project_and_feed_forward(const Pass& pass, const EncoderLayer& layer, Scheme next, const Workers& workers,
                              Rows rows) {
  BertState& state = pass.state;
  const ActivationRows hidden = state.hidden.from(rows.begin), context = state.context.from(rows.begin);
  const BertState::Block block = state.block(workers.first);
  const int d = pass.hidden_size(), n = rows.count;

  if (layer.attention_output.scheme == Scheme::kDynamic) {
    quantize(pass, workers, Step::kQuantizeContext, context, n, d, nullptr);
  }
  product(pass, workers, Step::kAttentionOutput, layer.attention_output, Activation::kNone, context, n, block.output);
  pass.observe("attention_output", block.output.data, d, block.output.stride);
  layer_norm(pass, workers, Step::kAttentionNorm, &block.output, hidden, n, layer.attention_norm,
             layer.ffn1.scheme == Scheme::kDynamic);
  pass.observe("attention_norm", hidden.data, d, hidden.stride);

  const bool quantize_ffn = layer.ffn2.scheme == Scheme::kDynamic;
  // A dynamic product finds its rows' maxima on the way out; after another one quantize_rows looks for them.
  uint32_t* maxima = quantize_ffn && layer.ffn1.scheme == Scheme::kDynamic ? block.row_max_bits : nullptr;
  product(pass, workers, Step::kFfn1, layer.ffn1, static_cast<Activation>(pass.config.activation), hidden, n, block.ffn,
          maxima);
  pass.observe("ffn1", block.ffn.data, layer.ffn1.n, block.ffn.stride);
  if (quantize_ffn) quantize(pass, workers, Step::kQuantizeFfn, block.ffn, n, layer.ffn1.n, maxima);
  product(pass, workers, Step::kFfn2, layer.ffn2, Activation::kNone, block.ffn, n, block.output);
  pass.observe("ffn2", block.output.data, d, block.output.stride);
  layer_norm(pass, workers, Step::kFfnNorm, &block.output, hidden, n, layer.ffn_norm, next == Scheme::kDynamic);
  pass.observe("ffn_norm", hidden.data, d, hidden.stride);
}

}  // namespace

void embed(const RunContext& run, const ModelConfig& config, const Embeddings& embeddings, const PackedBatch& batch,
           BertState& state) {
  throw_if_cancelled(run);
  state.prepare(config, batch, run.executor == nullptr ? 1 : std::max(1, run.executor->concurrency()),
                run.observer != nullptr);
  const Pass pass{run, config, state, -1};
  for_each_block(pass, [&](const Workers& workers, Rows block) {
    const ActivationRows hidden = state.hidden.from(block.begin);
    {
      const StepTimer timer = pass.timer(workers, Step::kEmbeddings);
      for_each_row(workers, block.count, [&](Rows r) {
        const size_t first = static_cast<size_t>(block.begin) + static_cast<size_t>(r.begin);
        pass.kernels().embed({.ids = batch.ids.data() + first,
                              .type_ids = batch.type_ids.empty() ? nullptr : batch.type_ids.data() + first,
                              .positions = state.positions + first,
                              .word_s8 = embeddings.word_s8,
                              .word_scale = embeddings.word_scale,
                              .word_f32 = embeddings.word_f32,
                              .type = embeddings.type,
                              .position = embeddings.position,
                              .dst = hidden.from(r.begin).data,
                              .ldd = hidden.stride,
                              .m = r.count,
                              .n = pass.hidden_size()});
      });
    }
    layer_norm(pass, workers, Step::kEmbeddings, nullptr, hidden, block.count, embeddings.norm, false);
  });
  pass.observe("embeddings", state.hidden.data, pass.hidden_size(), state.hidden.stride);
}

void encoder_layer(const RunContext& run, const ModelConfig& config, const EncoderLayer& layer, int index, Scheme next,
                   BertState& state) {
  throw_if_cancelled(run);
  const Pass pass{run, config, state, index};
  project_qkv(pass, layer);
  attend(pass, layer);
  for_each_block(
      pass, [&](const Workers& workers, Rows rows) { project_and_feed_forward(pass, layer, next, workers, rows); });
  state.hidden_is_quantized = next == Scheme::kDynamic;
}

void classify(const RunContext& run, const ModelConfig& config, const Linear& classifier, std::span<float> logits,
              BertState& state) {
  throw_if_cancelled(run);
  const Pass pass{run, config, state, -1};
  const size_t labels = config.label_count;
  for_each_block(pass, [&](const Workers& workers, Rows rows) {
    const ActivationRows hidden = state.hidden.from(rows.begin);
    const ActivationRows output = state.block(workers.first).output;
    if (classifier.scheme == Scheme::kDynamic && !state.hidden_is_quantized) {
      quantize(pass, workers, Step::kQuantizeInput, hidden, rows.count, pass.hidden_size(), nullptr);
    }
    product(pass, workers, Step::kClassifier, classifier, Activation::kNone, hidden, rows.count, output);
    for (int m = 0; m < rows.count; ++m) {
      std::copy_n(output.from(m).data, labels, logits.data() + static_cast<size_t>(rows.begin + m) * labels);
    }
  });
  pass.observe("logits", logits.data(), classifier.n, labels);
}

void forward(const RunContext& run, const BertModel& model, const PackedBatch& batch, std::span<float> logits,
             BertState& state) {
  embed(run, model.config, model.embeddings, batch, state);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const Linear& next = l + 1 < model.layers.size() ? model.layers[l + 1].qkv : model.classifier;
    encoder_layer(run, model.config, model.layers[l], static_cast<int>(l), next.scheme, state);
  }
  classify(run, model.config, model.classifier, logits, state);
}

}  // namespace octobert
