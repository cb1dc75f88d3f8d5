// What a report shows: filled by convert, tune and verify, drawn by report_html.h and tensorboard.h. Every part is
// optional; what is empty is left out. Texts may hold anything (labels and words come from files): the writers escape.
#ifndef OCTOBERT_CONVERTER_REPORT_DATA_H_
#define OCTOBERT_CONVERTER_REPORT_DATA_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "octobert/converter.h"

namespace octobert::converter {

// Names of products ("layer.3.ffn2", "classifier") and of intermediate results ("layer.3.ffn_norm", "logits") are
// those of policy and LayerSqnr: what is between "layer." and the next '.' is the layer, the rest the row or panel.

// A measure of the whole model, on one text ("source"; empty: on all).
struct ReportMetric {
  enum class Unit { kShare, kNumber, kMilliseconds };  // kShare: a fraction of 1, shown as per cent
  std::string source, name;                            // "dev.tsv", "F1"
  std::optional<double> reference, model;              // the float model's, this model's
  Unit unit = Unit::kShare;
  std::string note;  // "McNemar p = 0.62; 3 entities right to wrong, 2 wrong to right"
};

struct ReportHistogram {
  double low = 0, high = 0;      // edges of the first and the last bin, in the site's own unit
  std::vector<uint64_t> counts;  // bins of equal width
};

// An interval drawn over a histogram.
struct ReportRange {
  std::string name;  // "chosen", "widest channel"
  double low = 0, high = 0;
};

// The values of one place of the model and how they are cut into 8 bits.
struct ReportSite {
  enum class Kind { kWeights, kActivations };
  std::string name;  // the product whose weights they are; of activations, the product that reads or gives them
  Kind kind = Kind::kWeights;
  ReportHistogram histogram;
  std::vector<ReportRange> ranges;  // the chosen one first
  std::string note;                 // "percentile 99.99, asymmetric", "int8, a scale a channel"
};

// How much a product hurts. Both in the unit of ReportData::sensitivity_measure, larger is worse.
struct ReportSensitivity {
  std::string product, scheme;   // "layer.3.ffn2" quantized as "static"
  std::optional<double> alone;   // it alone quantized, all else float
  std::optional<double> others;  // everything but it quantized: what is left of the harm
};

// A state of the search: the first has no product and is the fastest form; each following one changes one product.
struct ReportStep {
  std::string product, from, to;  // "layer.3.ffn2", "static", "dynamic"
  std::string reason;             // "accuracy", "speed"
  std::optional<double> seconds;  // after the change: the first form's time and what each change costs by itself
  std::optional<double> value;    // of ReportData::step_measure, after the change; larger is better
};

struct ReportShare {
  std::string name;
  double share = 0;  // of 1
};

// A word whose label is not the float model's.
struct ReportExample {
  std::string source;           // the file it is from
  std::string text;             // UTF-8 if it is well-formed: nothing is taken for granted
  size_t begin = 0, end = 0;    // the word's bytes in `text`
  std::string reference_label;  // the float model's
  std::string model_label;
  std::string gold_label;  // the text's own; empty if it has none
};

// Activations beyond their range, by layer or product.
struct ReportClipped {
  std::string source;  // as of ReportMetric
  std::vector<ReportShare> shares;
};

struct ReportData {
  std::string title;                                            // "octobert verify"
  std::string model;                                            // "ner.octo"
  std::string scheme;                                           // "static"
  std::vector<std::pair<std::string, std::string>> provenance;  // key, value: hashes, options, budget, machine
  std::vector<std::string> warnings;

  std::optional<uint64_t> source_bytes, model_bytes;
  std::vector<ReportMetric> metrics;

  std::vector<std::pair<std::string, std::string>> products;  // product, its scheme
  std::vector<LayerSqnr> sqnr;                                // in the order of computation
  std::vector<ReportClipped> clipped;                         // of each source
  std::vector<ReportSite> sites;

  std::string sensitivity_measure;  // "words with another label, %"
  std::vector<ReportSensitivity> sensitivity;
  std::string step_measure;  // "agreement, %"
  std::optional<double> step_budget;
  std::vector<ReportStep> steps;  // what was rolled back, in order
  // The first and the last form as a whole, measured side by side: sums (ReportStep::seconds) are another thing.
  std::optional<double> first_seconds, last_seconds;

  std::vector<ReportExample> examples;
  size_t changed_words = 0;  // of which `examples` are some, or all
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_DATA_H_
