// How far a model's answers are from the float model's, and both from the texts' own labels.
#ifndef OCTOBERT_CONVERTER_METRICS_H_
#define OCTOBERT_CONVERTER_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "converter/evaluate.h"
#include "octobert/converter.h"

namespace octobert::converter {

// Entities of the texts' own labels, by which of two models find them (exact span and type). Two F1 values alone cannot
// show whether a tenth of a point is chance; the entities on which the models differ can.
struct PairedEntities {
  size_t both = 0, lost = 0, gained = 0, neither = 0;  // lost: the float model alone; gained: the other alone
  // McNemar's test in its exact form: how likely at least so uneven a split of lost + gained is if each were a fair
  // coin's. Two-sided, 1 if there are none. McNemar 1947, Psychometrika 12(2); exact: Fagerland et al. 2013, eq. 2.
  double p_value() const;
  void add(const PairedEntities& other);
};

// A word whose label is not the float model's. Labels are indices into the model's.
struct ChangedWord {
  size_t text, word;
  int32_t reference, model;
};

struct Comparison {
  size_t words = 0, same_label = 0;  // words that have a piece; those with the reference's label
  double agreement() const { return words == 0 ? 1 : static_cast<double>(same_label) / static_cast<double>(words); }
  EntityCounts entities;  // the model's entities, scored as if the float model's were the truth
  // 1 where neither model finds any, of which precision and recall say nothing.
  double entity_agreement() const { return entities.expected + entities.found == 0 ? 1 : entities.f1(); }
  double divergence = 0;  // sum over words of the Kullback-Leibler divergence of the label distributions, nats
  double mean_divergence() const { return words == 0 ? 0 : divergence / static_cast<double>(words); }
  std::vector<ChangedWord> changed;  // all words - same_label of them, in order

  bool labelled = false;          // some texts have labels: what follows counts
  EntityScores reference, model;  // against the texts' own labels
  PairedEntities paired;
  // F1 lost, as a fraction of 1; below 0 if the model is better.
  double f1_loss() const { return reference.all.f1() - model.all.f1(); }

  std::vector<LayerSqnr> sqnr;  // of the model's intermediate results and logits

  void add(const Comparison& other);  // other texts' counts and scores; sqnr and changed stay
};

// sum p (ln p - ln q) of the softmaxes p, q of two rows of logits, in nats. Not negative.
double divergence(std::span<const float> reference, std::span<const float> model);

// Everything but sqnr. reference_logits, model_logits: [encoded.ids][names]; `sentences`: the texts' labels, empty if
// they have none; names: the model's labels.
Comparison compare_logits(const EncodedTexts& encoded, std::span<const Sentence> sentences,
                          std::span<const std::string> names, std::span<const float> reference_logits,
                          std::span<const float> model_logits);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_METRICS_H_
