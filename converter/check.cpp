#include "converter/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "octobert/error.h"

namespace octobert::converter {

namespace {

// The text, or so much of its front that it has no more than `limit` tokens: it is replayed whole later.
std::string fitting_front(const Tokenizer& tokenizer, std::string text, size_t limit, Encodings& encodings) {
  for (size_t last = limit; tokenizer.encode(text, {}, encodings), encodings.chunks.front().size() > limit; --last) {
    // Up to the end of a token: one that surely fits at first; earlier ones if a word cut in two has more pieces.
    text.resize(last == 0 ? 0 : encodings.chunks.front().bytes[last - 1].end);
  }
  return text;
}

}  // namespace

TestBatch make_test_batch(const Tokenizer& tokenizer, std::span<const std::string> texts, size_t limit) {
  TestBatch batch;
  batch.offsets.push_back(0);
  Encodings encodings;
  for (const std::string& text : texts) {
    batch.texts.push_back(fitting_front(tokenizer, text, limit, encodings));
    const Encoding& chunk = encodings.chunks.front();
    batch.ids.insert(batch.ids.end(), chunk.ids.begin(), chunk.ids.end());
    batch.special.insert(batch.special.end(), chunk.special.begin(), chunk.special.end());
    batch.offsets.push_back(static_cast<int32_t>(batch.ids.size()));
  }
  return batch;
}

Check::Check(Executor& executor, const KernelTable& kernels, const format::ModelConfig& config, TestBatch batch,
             bool with_float)
    : config_(config),
      batch_(std::move(batch)),
      with_float_(with_float),
      distinct_ids_(batch_.ids),
      expect_([this](const Intermediate& result) { meter_.expect(result); }),
      compare_([this](const Intermediate& result) { meter_.compare(result); }) {
  std::sort(distinct_ids_.begin(), distinct_ids_.end());
  distinct_ids_.erase(std::unique(distinct_ids_.begin(), distinct_ids_.end()), distinct_ids_.end());
  for (const int32_t id : batch_.ids) {
    const auto place = std::lower_bound(distinct_ids_.begin(), distinct_ids_.end(), id);
    indices_.push_back(static_cast<int32_t>(place - distinct_ids_.begin()));
  }
  float_run_.kernels = packed_run_.kernels = &kernels;
  float_run_.executor = packed_run_.executor = &executor;
  float_run_.observer = float_run_.scores_observer = &expect_;
  packed_run_.observer = packed_run_.scores_observer = with_float ? &compare_ : nullptr;
}

void Check::embeddings(const Embeddings* floats, const Embeddings& packed) {
  const PackedBatch by_index{indices_, {}, batch_.offsets};
  if (with_float_) embed(float_run_, config_, *floats, by_index, float_state_);
  embed(packed_run_, config_, packed, batch_.view(), packed_state_);
}

void Check::layer(uint32_t index, const EncoderLayer* floats, const EncoderLayer& packed, format::Scheme next) {
  const int number = static_cast<int>(index);
  if (with_float_) encoder_layer(float_run_, config_, *floats, number, {}, float_state_);
  // The next product is not packed yet: a guess that is right unless it has multipliers, and harmless if wrong.
  const NextProduct guess{{next == format::Scheme::kDynamic ? next : format::Scheme::kFloat}};
  encoder_layer(packed_run_, config_, packed, number, guess, packed_state_);
}

void Check::classifier(const Linear* floats, const Linear& packed) {
  const size_t count = batch_.ids.size() * config_.label_count;
  std::vector<float> float_logits;
  if (with_float_) {
    float_logits.resize(count);
    classify(float_run_, config_, *floats, float_logits, float_state_);
    require_finite(float_logits, "float");
  }
  logits_.resize(count);
  classify(packed_run_, config_, packed, logits_, packed_state_);
  require_finite(logits_, "converted");
  if (with_float_) count_agreement(float_logits);
}

std::span<const float> Check::row(std::span<const float> logits, size_t token) const {
  return logits.subspan(token * config_.label_count, config_.label_count);
}

void Check::require_finite(std::span<const float> logits, const char* model) const {
  const auto bad = std::find_if(logits.begin(), logits.end(), [](float logit) { return !std::isfinite(logit); });
  if (bad == logits.end()) return;
  const auto token = static_cast<int32_t>(static_cast<size_t>(bad - logits.begin()) / config_.label_count);
  const auto text = std::upper_bound(batch_.offsets.begin(), batch_.offsets.end(), token) - batch_.offsets.begin();
  throw Error(ErrorCode::kNumeric,
              fmt::format("the {} model's answer to test text {} is not finite (logit {})", model, text, *bad));
}

void Check::count_agreement(std::span<const float> float_logits) {
  for (size_t token = 0; token < batch_.ids.size(); ++token) {
    if (batch_.special[token]) continue;
    const auto label = [&](std::span<const float> logits) {
      const std::span<const float> scores = row(logits, token);
      return std::max_element(scores.begin(), scores.end()) - scores.begin();  // the first of equals, as the reference
    };
    ++tokens_;
    if (label(float_logits) == label(logits_)) ++agreeing_tokens_;
  }
}

std::vector<TestVector> Check::test_vectors() const {
  std::vector<TestVector> vectors;
  for (size_t i = 0; i < batch_.texts.size(); ++i) {
    const auto begin = static_cast<size_t>(batch_.offsets[i]), end = static_cast<size_t>(batch_.offsets[i + 1]);
    const size_t labels = config_.label_count;
    vectors.push_back(
        {batch_.texts[i],
         {batch_.ids.begin() + static_cast<ptrdiff_t>(begin), batch_.ids.begin() + static_cast<ptrdiff_t>(end)},
         {logits_.begin() + static_cast<ptrdiff_t>(begin * labels),
          logits_.begin() + static_cast<ptrdiff_t>(end * labels)}});
  }
  return vectors;
}

}  // namespace octobert::converter
