#include "converter/metrics.h"

#include <algorithm>
#include <cmath>
#include <string_view>

namespace octobert::converter {
namespace {

using Names = std::vector<std::string_view>;

// Names for scoring; a word without a piece has none of the model's labels.
Names names_of(std::span<const int32_t> labels, std::span<const std::string> names) {
  Names result;
  for (const int32_t label : labels)
    result.push_back(label < 0 ? "O" : std::string_view(names[static_cast<size_t>(label)]));
  return result;
}

PairedEntities pair_entities(const Names& gold, const Names& reference, const Names& model) {
  const std::vector<EntitySpan> of_reference = entity_spans(reference), of_model = entity_spans(model);
  PairedEntities paired;
  for (const EntitySpan& span : entity_spans(gold)) {
    const bool a = contains(of_reference, span), b = contains(of_model, span);
    ++(a ? (b ? paired.both : paired.lost) : (b ? paired.gained : paired.neither));
  }
  return paired;
}

double log_sum_exp(std::span<const float> logits, double largest) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace

double PairedEntities::p_value() const {
  const size_t n = lost + gained, fewer = std::min(lost, gained);
  // P(X <= fewer) of X ~ Binomial(n, 1/2), term by term from C(n, 0) / 2^n in logarithms, which no n makes vanish.
  double log_term = -static_cast<double>(n) * std::log(2.0), tail = 0;
  for (size_t i = 0; i <= fewer; ++i) {
    tail += std::exp(log_term);
    log_term += std::log(static_cast<double>(n - i) / static_cast<double>(i + 1));
  }
  return std::min(1.0, 2 * tail);
}

void PairedEntities::add(const PairedEntities& other) {
  both += other.both;
  lost += other.lost;
  gained += other.gained;
  neither += other.neither;
}

void Comparison::add(const Comparison& other) {
  words += other.words;
  same_label += other.same_label;
  entities.add(other.entities);
  divergence += other.divergence;
  labelled = labelled || other.labelled;
  reference.add(other.reference);
  model.add(other.model);
  paired.add(other.paired);
}

double divergence(std::span<const float> reference, std::span<const float> model) {
  const double p_max = *std::max_element(reference.begin(), reference.end());
  const double q_max = *std::max_element(model.begin(), model.end());
  const double p_log_sum = log_sum_exp(reference, p_max), q_log_sum = log_sum_exp(model, q_max);
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double p_log = static_cast<double>(reference[i]) - p_log_sum;
    sum += std::exp(p_log) * (p_log - (static_cast<double>(model[i]) - q_log_sum));
  }
  return std::max(sum, 0.0);  // rounding
}

Comparison compare_logits(const EncodedTexts& encoded, std::span<const Sentence> sentences,
                          std::span<const std::string> names, std::span<const float> reference_logits,
                          std::span<const float> model_logits) {
  const size_t labels = names.size();
  const auto expected = word_labels(encoded, reference_logits, labels);
  const auto found = word_labels(encoded, model_logits, labels);
  Comparison result;
  for (size_t text = 0; text < expected.size(); ++text) {
    for (size_t word = 0; word < expected[text].size(); ++word) {
      const int32_t piece = encoded.first_pieces[text][word];
      if (piece < 0) continue;
      ++result.words;
      const size_t row = static_cast<size_t>(piece) * labels;
      result.divergence += divergence(reference_logits.subspan(row, labels), model_logits.subspan(row, labels));
      if (expected[text][word] == found[text][word]) {
        ++result.same_label;
      } else {
        result.changed.push_back({text, word, expected[text][word], found[text][word]});
      }
    }
    const Names of_reference = names_of(expected[text], names), of_model = names_of(found[text], names);
    EntityScores agreement;
    agreement.add(of_reference, of_model);
    result.entities.add(agreement.all);
    if (text >= sentences.size() || sentences[text].labels.empty()) continue;
    result.labelled = true;
    const Names gold(sentences[text].labels.begin(), sentences[text].labels.end());
    result.reference.add(gold, of_reference);
    result.model.add(gold, of_model);
    result.paired.add(pair_entities(gold, of_reference, of_model));
  }
  return result;
}

}  // namespace octobert::converter
