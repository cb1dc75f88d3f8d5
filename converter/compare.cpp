#include "converter/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "converter/convert.h"
#include "converter/sqnr.h"
#include "engine/attention_scores.h"
#include "engine/engine_access.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

AlignedBuffer float_model(const std::filesystem::path& checkpoint, const OpenOptions& options,
                          const std::filesystem::path& labels) {
  ConvertOptions convert_options;
  convert_options.labels = labels;
  convert_options.scheme = "float";
  convert_options.check = false;
  convert_options.allow_padded_vocabulary = true;  // whoever made the packed file has decided
  convert_options.threads = options.executor ? options.executor->concurrency() : options.threads;
  convert_options.isa = options.isa;
  const std::vector<std::byte> bytes = convert_to_memory(checkpoint, convert_options);
  AlignedBuffer aligned(bytes.size());
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  return aligned;
}

void require_same_shape(const Engine& reference, const Engine& model) {
  const auto require = [](const char* field, auto of_reference, auto of_model) {
    if (of_reference == of_model) return;
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("the packed model is not one of this checkpoint: {} is {}, the checkpoint's is {}", field,
                            of_model, of_reference));
  };
  const ModelInfo &a = reference.info(), &b = model.info();
  require("hidden_size", a.hidden_size, b.hidden_size);
  require("layer_count", a.layer_count, b.layer_count);
  require("head_count", a.head_count, b.head_count);
  require("intermediate_size", a.intermediate_size, b.intermediate_size);
  require("vocab_size", a.vocab_size, b.vocab_size);
  require("max_positions", a.max_positions, b.max_positions);
  require("label_count", a.label_count, b.label_count);
}

// Tokens to take at once: the reference's intermediate results of all layers are kept until they are compared.
size_t batch_tokens(const ModelInfo& info) {
  constexpr size_t kMaxTokens = 1024, kMaxFloats = size_t{1} << 25;  // 128 MB, unless a text alone has more
  const auto hidden = static_cast<size_t>(info.hidden_size), inner = static_cast<size_t>(info.intermediate_size);
  const size_t scores = static_cast<size_t>(info.head_count) * kObservedQueries;
  // engine/bert.h: Intermediate
  const size_t floats = (8 * hidden + inner + scores) * static_cast<size_t>(info.layer_count);
  return std::clamp(kMaxFloats / floats, size_t{1}, kMaxTokens);
}

// Both models over all windows, some at a time.
void run_both(const Engine& reference, const Engine& model, const EncodedTexts& encoded,
              std::span<float> reference_logits, std::span<float> model_logits, SqnrMeter& meter,
              const std::function<void(size_t, size_t)>& progress) {
  const Observer expect = [&meter](const Intermediate& result) { meter.expect(result); };
  const Observer compare = [&meter](const Intermediate& result) { meter.compare(result); };
  RunContext reference_run, model_run;
  reference_run.observer = reference_run.scores_observer = &expect;
  model_run.observer = model_run.scores_observer = &compare;
  const std::span<const int32_t> offsets = encoded.offsets;
  const size_t most = batch_tokens(model.info()), labels = static_cast<size_t>(model.info().label_count);
  BertState reference_state, model_state;
  std::vector<int32_t> from_zero;
  for (size_t begin = 0; begin + 1 < offsets.size();) {
    const auto first = static_cast<size_t>(offsets[begin]);
    size_t end = begin + 1;
    while (end + 1 < offsets.size() && static_cast<size_t>(offsets[end + 1]) - first <= most) ++end;
    const size_t count = static_cast<size_t>(offsets[end]) - first;
    from_zero.clear();
    for (size_t i = begin; i <= end; ++i) from_zero.push_back(offsets[i] - offsets[begin]);
    const PackedBatch batch{std::span(encoded.ids).subspan(first, count), {}, from_zero};
    EngineAccess::logits(reference, batch, reference_logits.subspan(first * labels, count * labels), reference_state,
                         reference_run);
    EngineAccess::logits(model, batch, model_logits.subspan(first * labels, count * labels), model_state, model_run);
    begin = end;
    if (progress) progress(first + count, encoded.ids.size());
  }
}

}  // namespace

FloatModel::FloatModel(const std::filesystem::path& checkpoint, const OpenOptions& options,
                       const std::filesystem::path& labels)
    : bytes_(float_model(checkpoint, options, labels)),
      engine_(Engine::open_memory({bytes_.data(), bytes_.size()}, options)) {}

Comparison compare_models(const Engine& reference, const Engine& model, const EncodedTexts& encoded,
                          std::span<const Sentence> sentences, const std::function<void(size_t, size_t)>& progress) {
  require_same_shape(reference, model);
  const auto label_count = static_cast<size_t>(model.info().label_count);
  std::vector<float> reference_logits(encoded.ids.size() * label_count), model_logits(reference_logits.size());
  SqnrMeter meter;
  run_both(reference, model, encoded, reference_logits, model_logits, meter, progress);
  Comparison comparison = compare_logits(encoded, sentences, model.labels(), reference_logits, model_logits);
  comparison.sqnr = meter.result();
  return comparison;
}

}  // namespace octobert::converter
