#include "engine/bert.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/attention_scores.h"
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
  bool last = true;  // of a block: no other block of the same worker follows in this step
};

// What every step needs to know.
struct Pass {
  const RunContext& run;
  const ModelConfig& config;
  BertState& state;
  int layer;  // -1: none

  const KernelTable& kernels() const { return *run.kernels; }
  int hidden_size() const { return static_cast<int>(config.hidden_size); }
  int head_dim() const { return static_cast<int>(config.hidden_size / config.head_count); }
  size_t clip_site(ClipSite site) const { return static_cast<size_t>(layer) * kClipSites + static_cast<size_t>(site); }
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
  const RowPlan& plan = pass.state.plan;
  if (plan.shared) return step(pass.all(), Rows{0, pass.state.tokens});
  parallel_for(pass.all(), plan.block_count, [&](int worker, int block) {
    const auto [begin, end] = plan.block(block);
    if (begin < end) step(Workers::only(worker), Rows{begin, end - begin, plan.last_of_worker(block)});
  });
}

// body(worker, rows) over pieces of a block's rows, for steps that treat each row by itself. Below the piece's size it
// is not worth waking another thread.
template <class Body>
void for_each_row(const Workers& workers, int count, const Body& body) {
  constexpr int kPiece = 8;
  if (workers.count == 1) return body(workers.first, Rows{0, count});
  parallel_for(workers, (count + kPiece - 1) / kPiece, [&](int worker, int i) {
    body(worker, Rows{i * kPiece, std::min(kPiece, count - i * kPiece)});
  });
}

// Brings rows that are there as floats into the form that a product reads. row_max_bits: where already known, and the
// form has use for them; else null.
void quantize(const Pass& pass, const Workers& workers, Step step, const ActivationRows& rows, int count, int columns,
              const InputForm& form, size_t clip_site, const uint32_t* row_max_bits = nullptr) {
  if (form.scheme == Scheme::kFloat) return;
  const StepTimer timer = pass.timer(workers, step);
  for_each_row(workers, count, [&](int worker, Rows r) {
    const ActivationRows part = rows.from(r.begin);
    if (form.scheme == Scheme::kStatic) {
      return pass.kernels().quantize_static({.src = part.data,
                                             .lds = part.stride,
                                             .inv = form.inv,
                                             .zero_point = form.zero,
                                             .dst = part.q,
                                             .ldd = part.q_stride,
                                             .m = r.count,
                                             .k = columns,
                                             .clipped = pass.state.clip_counter(worker, clip_site)});
    }
    pass.kernels().quantize_rows(
        {.src = part.data,
         .lds = part.stride,
         .row_max_bits = row_max_bits == nullptr ? nullptr : row_max_bits + r.begin * kPanelWidth,
         .dst = part.q,
         .ldd = part.q_stride,
         .scale = part.scale,
         .m = r.count,
         .k = columns,
         .inv = form.inv});
  });
}

// hidden = LayerNorm(x + hidden), or LayerNorm(hidden) without x; beside the floats in the form that is read next.
void layer_norm(const Pass& pass, const Workers& workers, Step step, const ActivationRows* x,
                const ActivationRows& hidden, int count, const LayerNormWeights& weights, const InputForm& form,
                size_t clip_site) {
  const StepTimer timer = pass.timer(workers, step);
  for_each_row(workers, count, [&](int worker, Rows r) {
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
                               .q = form.scheme == Scheme::kFloat ? nullptr : y.q,
                               .ldq = y.q_stride,
                               .scale = form.scheme == Scheme::kDynamic ? y.scale : nullptr,
                               .m = r.count,
                               .n = pass.hidden_size(),
                               .inv = form.inv,
                               .zero_point = form.zero,
                               .clipped = pass.state.clip_counter(worker, clip_site)});
  });
}

void product(const Pass& pass, const Workers& workers, Step step, const Linear& weights, Activation activation,
             const ActivationRows& input, int rows, const ActivationRows& output, const LinearOutput& how = {}) {
  const StepTimer timer = pass.timer(workers, step);
  linear(pass.kernels(), workers, weights, activation, input, rows, output, how, pass.state);
}

// A product whose result is read in the given form: integer products give bytes of a static form at once, and the rows'
// maxima of a dynamic one. For an observer the floats are made in any case: the bytes are the same.
void product_for(const Pass& pass, const Workers& workers, Step step, const Linear& weights, Activation activation,
                 const ActivationRows& input, int rows, const ActivationRows& output, const InputForm& form,
                 ClipSite site, Step quantize_step, uint32_t* row_max_bits, const Linear* next) {
  const bool at_once = is_integer(weights) && pass.run.observer == nullptr && form.scheme == Scheme::kStatic;
  const bool maxima = is_integer(weights) && form.scheme == Scheme::kDynamic && form.inv == nullptr;
  product(pass, workers, step, weights, activation, input, rows, output,
          {.row_max_bits = maxima ? row_max_bits : nullptr,
           .bytes = at_once ? &form : nullptr,
           .clip_site = pass.clip_site(site),
           .next = next});
  if (at_once) return;
  quantize(pass, workers, quantize_step, output, rows, weights.n, form, pass.clip_site(site),
           maxima ? row_max_bits : nullptr);
}

// Query, key and value of every token: in one product, or in one for each way in which the input is quantized.
void project_qkv(const Pass& pass, const EncoderLayer& layer) {
  BertState& state = pass.state;
  for_each_block(pass, [&](const Workers& workers, Rows rows) {
    const ActivationRows hidden = state.hidden.from(rows.begin), qkv = state.qkv.from(rows.begin);
    const Linear& next = rows.last ? layer.attention_output : layer.qkv;
    for (int p = 0; p < layer.qkv.input_parts; ++p) {
      const Linear part = layer.qkv.part(p);
      const Linear after = p + 1 < layer.qkv.input_parts ? layer.qkv.part(p + 1) : next;
      const int column = p * part.n;
      // LayerNorm gives the first part's bytes at most; those of the others take their place.
      if (const InputForm form = InputForm::of(part); state.hidden_form != form) {
        quantize(pass, workers, Step::kQuantizeInput, hidden, rows.count, pass.hidden_size(), form,
                 pass.clip_site(ClipSite::kQkvInput));
      }
      const InputForm attention = layer.attention == Scheme::kStatic
                                      ? InputForm{Scheme::kStatic, layer.qkv_output_inv + column, 0}
                                      : InputForm{};
      product_for(pass, workers, Step::kQkv, part, Activation::kNone, hidden, rows.count, qkv.from_column(column),
                  attention, ClipSite::kQkvOutput, Step::kQkv, nullptr, &after);
    }
  });
  pass.observe("qkv", state.qkv.data, layer.qkv.n, state.qkv.stride);
}

void observe_scores(const Pass& pass, const EncoderLayer& layer) {
  if (pass.run.scores_observer == nullptr) return;
  const std::string name = "layer." + std::to_string(pass.layer) + ".scores";
  const auto heads = static_cast<int>(pass.config.head_count);
  const std::span<const int32_t> offsets = pass.state.batch.offsets;
  std::vector<float> scores;
  for (size_t text = 0; text + 1 < offsets.size(); ++text) {
    const int first = offsets[text] - offsets.front(), length = offsets[text + 1] - offsets[text];
    attention_scores(pass.kernels(), pass.all(), layer, heads, pass.head_dim(), pass.state, first, length, scores);
    (*pass.run.scores_observer)(
        {name, scores.data(), static_cast<int>(scores.size()) / length, length, static_cast<size_t>(length)});
  }
}

// body(worker, item, head) over texts and heads.
template <class Body>
void for_each_head(const Pass& pass, const Body& body) {
  const Workers workers = pass.all();
  const StepTimer timer = pass.timer(workers, Step::kAttention);
  const auto heads = static_cast<int>(pass.config.head_count);
  parallel_for(
      workers, static_cast<int>(pass.state.attention.size()) * heads,
      [&](int worker) { return pass.state.attention_shares[static_cast<size_t>(worker)]; },
      [&](int worker, int i) {
        body(worker, pass.state.attention[static_cast<size_t>(i / heads)], static_cast<size_t>(i % heads));
      });
}

// softmax(Q K^T / sqrt(head_dim)) V, text by text and head by head, of floats.
void attend(const Pass& pass, const EncoderLayer& layer) {
  const BertState& state = pass.state;
  const int d = pass.hidden_size(), head_dim = pass.head_dim();
  const auto attention =
      layer.attention == Scheme::kDynamic ? pass.kernels().attention_s8 : pass.kernels().attention_f32;
  for_each_head(pass, [&](int worker, const AttentionItem& item, size_t head) {
    const size_t column = head * static_cast<size_t>(head_dim);
    const float* q = state.qkv.from(item.first_token).data + column;
    attention({.q = q,
               .k = q + d,
               .v = q + 2 * d,
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

// Whether static attention gives the next product its bytes at once.
bool context_is_bytes(const Pass& pass, const EncoderLayer& layer) {
  return layer.attention == Scheme::kStatic && layer.attention_output.scheme == Scheme::kStatic &&
         pass.run.observer == nullptr;
}

// The same of bytes.
void attend_static(const Pass& pass, const EncoderLayer& layer) {
  const BertState& state = pass.state;
  const int d = pass.hidden_size(), head_dim = pass.head_dim();
  const bool bytes = context_is_bytes(pass, layer);
  for_each_head(pass, [&](int worker, const AttentionItem& item, size_t head) {
    const size_t column = head * static_cast<size_t>(head_dim);
    const uint8_t* q = state.qkv.from(item.first_token).q + column;
    const ActivationRows context = state.context.from(item.first_token);
    pass.kernels().attention_static(
        {.q = q,
         .k = q + d,
         .v = q + 2 * d,
         .ld = state.qkv.q_stride,
         .score_factor = layer.scores_factor[head],
         .v_scale = layer.value_scale + column,
         .dst = context.data + column,
         .ldd = context.stride,
         .scratch = state.scratch(worker).data,
         .s = item.length,
         .head_dim = head_dim,
         .row_begin = item.row_begin,
         .row_end = item.row_end,
         .dst_q = bytes ? context.q + column : nullptr,
         .ldq = context.q_stride,
         .inv = bytes ? layer.attention_output.input_inv + column : nullptr,
         .zero_point = bytes ? layer.attention_output.input_zero[0] : 0,
         .clipped = state.clip_counter(worker, pass.clip_site(ClipSite::kAttentionOutputInput))});
  });
}

// From attention's output to the layer's: projection, residual, LayerNorm, feed-forward network, residual, LayerNorm.
void project_and_feed_forward(const Pass& pass, const EncoderLayer& layer, const NextProduct& next,
                              const Workers& workers, Rows rows) {
  BertState& state = pass.state;
  const ActivationRows hidden = state.hidden.from(rows.begin), context = state.context.from(rows.begin);
  const BertState::Block block = state.block(workers.first);
  const int d = pass.hidden_size(), n = rows.count;

  if (!context_is_bytes(pass, layer)) {
    quantize(pass, workers, Step::kQuantizeContext, context, n, d, InputForm::of(layer.attention_output),
             pass.clip_site(ClipSite::kAttentionOutputInput));
  }
  product(pass, workers, Step::kAttentionOutput, layer.attention_output, Activation::kNone, context, n, block.output,
          {.next = &layer.ffn1});
  pass.observe("attention_output", block.output.data, d, block.output.stride);
  layer_norm(pass, workers, Step::kAttentionNorm, &block.output, hidden, n, layer.attention_norm,
             InputForm::of(layer.ffn1), pass.clip_site(ClipSite::kFfn1Input));
  pass.observe("attention_norm", hidden.data, d, hidden.stride);

  product_for(pass, workers, Step::kFfn1, layer.ffn1, static_cast<Activation>(pass.config.activation), hidden, n,
              block.ffn, InputForm::of(layer.ffn2), ClipSite::kFfn2Input, Step::kQuantizeFfn, block.row_max_bits,
              &layer.ffn2);
  pass.observe("ffn1", block.ffn.data, layer.ffn1.n, block.ffn.stride);
  product(pass, workers, Step::kFfn2, layer.ffn2, Activation::kNone, block.ffn, n, block.output,
          {.next = rows.last ? next.weights : &layer.attention_output});
  pass.observe("ffn2", block.output.data, d, block.output.stride);
  // What reads it is the next layer's first site, or the classifier's.
  layer_norm(pass, workers, Step::kFfnNorm, &block.output, hidden, n, layer.ffn_norm, next.form,
             pass.clip_site(ClipSite::kQkvInput) + kClipSites);
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
      for_each_row(workers, block.count, [&](int, Rows r) {
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
    layer_norm(pass, workers, Step::kEmbeddings, nullptr, hidden, block.count, embeddings.norm, {}, 0);
  });
  pass.observe("embeddings", state.hidden.data, pass.hidden_size(), state.hidden.stride);
}

void encoder_layer(const RunContext& run, const ModelConfig& config, const EncoderLayer& layer, int index,
                   const NextProduct& next, BertState& state) {
  throw_if_cancelled(run);
  const Pass pass{run, config, state, index};
  project_qkv(pass, layer);
  observe_scores(pass, layer);
  layer.attention == Scheme::kStatic ? attend_static(pass, layer) : attend(pass, layer);
  pass.observe("context", state.context.data, pass.hidden_size(), state.context.stride);
  for_each_block(
      pass, [&](const Workers& workers, Rows rows) { project_and_feed_forward(pass, layer, next, workers, rows); });
  state.hidden_form = next.form;
}

void classify(const RunContext& run, const ModelConfig& config, const Linear& classifier, std::span<float> logits,
              BertState& state) {
  throw_if_cancelled(run);
  const Pass pass{run, config, state, -1};
  const size_t labels = config.label_count;
  for_each_block(pass, [&](const Workers& workers, Rows rows) {
    const ActivationRows hidden = state.hidden.from(rows.begin);
    const ActivationRows output = state.block(workers.first).output;
    if (state.hidden_form != InputForm::of(classifier)) {
      quantize(pass, workers, Step::kQuantizeInput, hidden, rows.count, pass.hidden_size(), InputForm::of(classifier),
               kClipSites * config.layer_count);
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
    encoder_layer(run, model.config, model.layers[l], static_cast<int>(l), NextProduct::of(next), state);
  }
  classify(run, model.config, model.classifier, logits, state);
}

}  // namespace octobert
