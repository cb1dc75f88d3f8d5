#include "apps/compare.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "converter/sqnr.h"
#include "engine/engine_access.h"
#include "octobert/error.h"

namespace octobert::apps {
namespace {

// Tokens in a call: enough to keep the cores busy.
constexpr size_t kCallTokens = 4096;
// The same where every intermediate result of the float model is kept until the other's is there: about 20 floats per
// hidden channel, layer and token, a quarter of a gigabyte for BERT-base.
constexpr size_t kObservedTokens = 512;

Engine open_float_model(const std::filesystem::path& checkpoint, const OpenOptions& options) {
  std::string folder = (std::filesystem::temp_directory_path() / "octobert-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    throw Error(ErrorCode::kIo, folder + ": " + std::generic_category().message(errno));
  }
  const std::filesystem::path file = std::filesystem::path(folder) / "float.octo";
  // The mapping lives on without the file's name; so do the bytes, until the engine is gone.
  struct Remover {
    const std::string& folder;
    ~Remover() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  } const remover{folder};
  ConvertOptions convert_options;
  convert_options.scheme = "float";
  convert_options.check = false;
  convert_options.threads = options.threads;
  convert_options.isa = options.isa;
  convert(checkpoint, file, convert_options);
  return Engine::open(file, options);
}

void require_same_shape(const Engine& model, const Engine& reference, const std::filesystem::path& checkpoint) {
  const ModelInfo& a = model.info();
  const ModelInfo& b = reference.info();
  const auto require = [&](const char* what, int found, int expected) {
    if (found == expected) return;
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: not the checkpoint of this model: {}: expected {}, found {}",
                                                      checkpoint.string(), what, expected, found));
  };
  require("labels", b.label_count, a.label_count);
  require("vocabulary", b.vocab_size, a.vocab_size);
  require("layers", b.layer_count, a.layer_count);
  require("hidden size", b.hidden_size, a.hidden_size);
  require("positions", b.max_positions, a.max_positions);
}

// Calls use(batch, first token) for runs of whole windows of at most `limit` tokens (or one window).
template <typename Use>
void for_each_run(const converter::EncodedTexts& encoded, size_t limit, size_t end_token, Use use) {
  const std::vector<int32_t>& offsets = encoded.offsets;
  std::vector<int32_t> run;
  for (size_t window = 0; window + 1 < offsets.size() && static_cast<size_t>(offsets[window]) < end_token;) {
    const int32_t first = offsets[window];
    run.assign(1, 0);
    do {
      run.push_back(offsets[++window] - first);
    } while (window + 1 < offsets.size() && static_cast<size_t>(offsets[window + 1] - first) <= limit);
    const auto ids = std::span(encoded.ids).subspan(static_cast<size_t>(first), static_cast<size_t>(run.back()));
    use(PackedBatch{ids, {}, run}, static_cast<size_t>(first));
  }
}

}  // namespace

ModelPair::ModelPair(const Engine& model, const std::filesystem::path& checkpoint, const OpenOptions& options)
    : model_(model), float_(open_float_model(checkpoint, options)) {
  require_same_shape(model_, float_, checkpoint);
}

converter::EncodedTexts ModelPair::encode(std::span<const converter::Sentence> sentences) const {
  return converter::encode_sentences(model_, sentences);
}

converter::EncodedTexts ModelPair::encode(std::span<const std::string> texts) const {
  return converter::encode_texts(model_, texts);
}

std::vector<std::vector<int32_t>> ModelPair::labels_of(const Engine& engine, const converter::EncodedTexts& encoded,
                                                       const Progress& progress, size_t already_done) const {
  const size_t label_count = engine.labels().size();
  std::vector<float> logits(encoded.ids.size() * label_count);
  Workspace workspace;
  for_each_run(encoded, kCallTokens, encoded.ids.size(), [&](const PackedBatch& batch, size_t first) {
    const auto out = std::span(logits).subspan(first * label_count, batch.ids.size() * label_count);
    engine.logits(batch, out, workspace);
    progress(already_done + first + batch.ids.size(), 2 * encoded.ids.size());
  });
  return converter::word_labels(encoded, logits, label_count);
}

Comparison ModelPair::count(const converter::EncodedTexts& encoded, std::span<const converter::Sentence> sentences,
                            const Progress& progress) const {
  const auto expected = labels_of(float_, encoded, progress, 0);
  const auto found = labels_of(model_, encoded, progress, encoded.ids.size());
  const std::span<const std::string> names = model_.labels();
  Comparison result;
  for (size_t text = 0; text < expected.size(); ++text) {
    std::vector<std::string_view> gold, of_float, of_model;
    const bool labelled = !sentences.empty() && !sentences[text].labels.empty();
    for (size_t word = 0; word < expected[text].size(); ++word) {
      const int32_t e = expected[text][word], f = found[text][word];
      result.words += e >= 0 ? 1 : 0;
      result.agreeing += e >= 0 && e == f ? 1 : 0;
      if (!labelled) continue;
      gold.emplace_back(sentences[text].labels[word]);
      // A word that the tokenizer drops has no label of a model's: outside of every entity.
      of_float.emplace_back(e >= 0 ? std::string_view(names[static_cast<size_t>(e)]) : "O");
      of_model.emplace_back(f >= 0 ? std::string_view(names[static_cast<size_t>(f)]) : "O");
    }
    if (!labelled) continue;
    result.labelled = true;
    result.float_scores.add(gold, of_float);
    result.model_scores.add(gold, of_model);
  }
  return result;
}

Comparison ModelPair::compare(std::span<const converter::Sentence> sentences, const Progress& progress) const {
  return count(encode(sentences), sentences, progress);
}

Comparison ModelPair::compare(std::span<const std::string> texts, const Progress& progress) const {
  return count(encode(texts), {}, progress);
}

std::vector<LayerSqnr> ModelPair::sqnr(const converter::EncodedTexts& encoded) const {
  converter::SqnrMeter meter;
  const Observer expect = [&meter](const Intermediate& result) { meter.expect(result); };
  const Observer compare = [&meter](const Intermediate& result) { meter.compare(result); };
  BertState state;
  std::vector<float> logits;
  for_each_run(encoded, kObservedTokens, kSqnrTokens, [&](const PackedBatch& batch, size_t) {
    logits.resize(batch.ids.size() * model_.labels().size());
    RunContext watched;
    watched.observer = &expect;
    EngineAccess::logits(float_, batch, logits, state, watched);
    watched.observer = &compare;
    EngineAccess::logits(model_, batch, logits, state, watched);
  });
  return meter.result();
}

}  // namespace octobert::apps
