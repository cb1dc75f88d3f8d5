#include "converter/report_fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "converter/checkpoint.h"
#include "converter/model_parts.h"

namespace octobert::converter {
namespace {

// ---- weights ----

float absmax(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Symmetric around 0, as far as the largest weight; empty if all are 0.
ReportHistogram histogram_of(std::span<const float> values) {
  constexpr size_t kBins = 80;
  const double most = absmax(values);
  if (most == 0) return {};
  ReportHistogram histogram{-most, most, std::vector<uint64_t>(kBins)};
  const double bins_per_unit = static_cast<double>(kBins) / (2 * most);
  for (const float value : values) {
    const auto bin = static_cast<size_t>((static_cast<double>(value) + most) * bins_per_unit);
    ++histogram.counts[std::min(bin, kBins - 1)];
  }
  return histogram;
}

// scheme: of the product, "" if it is not known.
ReportSite weight_site(std::string name, const std::string& scheme, const LinearFloats& linear) {
  const auto n = static_cast<size_t>(linear.n), k = static_cast<size_t>(linear.k);
  ReportSite site{.name = std::move(name),
                  .kind = ReportSite::Kind::kWeights,
                  .histogram = histogram_of(linear.weight),
                  .ranges = {},
                  .note = fmt::format("{} × {}", n, k)};
  if (scheme.empty() || scheme == "float") return site;
  std::vector<double> channels;
  for (size_t i = 0; i < n; ++i) channels.push_back(absmax(std::span(linear.weight).subspan(i * k, k)));
  std::sort(channels.begin(), channels.end());
  const double median = channels[n / 2], widest = channels.back();
  site.ranges = {{"median channel", -median, median}, {"widest", -widest, widest}};
  site.note += scheme == "weight-only-int4"       ? ", int4, a scale a group"
               : scheme == "weight-only-codebook" ? ", 16 values, a scale a channel"
                                                  : ", int8, a scale a channel";
  return site;
}

// ---- changed words ----

// The words of a sentence as one text, and where each begins.
std::string joined(const Sentence& sentence, std::vector<size_t>& begins) {
  std::string text;
  for (const std::string& word : sentence.words) {
    if (!text.empty()) text += ' ';
    begins.push_back(text.size());
    text += word;
  }
  return text;
}

ReportExample example_of(const Sentence& sentence, size_t word) {
  std::vector<size_t> begins;
  ReportExample example;
  example.text = joined(sentence, begins);
  example.begin = begins[word];
  example.end = begins[word] + sentence.words[word].size();
  if (!sentence.labels.empty()) example.gold_label = sentence.labels[word];
  return example;
}

// The bytes of a word of the tokenizer: from its first piece's first to its last piece's last.
ReportExample example_of(const Engine& engine, const std::string& text, size_t word) {
  Encodings encodings;
  engine.tokenizer().encode(text, {}, encodings);
  ReportExample example;
  example.text = text;
  for (size_t i = 0; i < encodings.count; ++i) {
    const Encoding& chunk = encodings.chunks[i];
    for (size_t token = 0; token < chunk.size(); ++token) {
      if (chunk.special[token] || chunk.words[token] != static_cast<int32_t>(word)) continue;
      if (example.end == 0) example.begin = chunk.bytes[token].begin;
      example.end = chunk.bytes[token].end;
    }
  }
  return example;
}

void add_scores(const std::string& source, const Comparison& comparison, ReportData& report) {
  using Unit = ReportMetric::Unit;
  const EntityCounts &reference = comparison.reference.all, &model = comparison.model.all;
  report.metrics.push_back(
      {source, "F1", reference.f1(), model.f1(), Unit::kShare,
       fmt::format("of {} entities the float model alone has {} right, this one alone {}: "
                   "McNemar p = {:.2g}",
                   model.expected, comparison.paired.lost, comparison.paired.gained, comparison.paired.p_value())});
  report.metrics.push_back({source, "precision", reference.precision(), model.precision(), Unit::kShare, ""});
  report.metrics.push_back({source, "recall", reference.recall(), model.recall(), Unit::kShare, ""});
  for (const auto& [type, counts] : comparison.reference.by_type) {
    const auto found = comparison.model.by_type.find(type);
    const EntityCounts counts_of_model = found == comparison.model.by_type.end() ? EntityCounts{} : found->second;
    report.metrics.push_back({source, "F1 of " + type, counts.f1(), counts_of_model.f1(), Unit::kShare,
                              fmt::format("{} in the text", counts.expected)});
  }
}

}  // namespace

void add_model_file(const ModelFile& file, ReportData& report) {
  const format::ModelConfig& config = file.config();
  report.scheme = format::scheme_name(config.scheme);
  report.model_bytes = file.size();
  constexpr const char* kProducts[] = {"qkv", "scores", "context", "attention_output", "ffn1", "ffn2"};
  const std::span<const format::ProductEntry> products = file.products();
  for (size_t i = 0; i < products.size(); ++i) {
    const bool last = i + 1 == products.size();
    report.products.emplace_back(
        last ? "classifier" : fmt::format("layer.{}.{}", i / std::size(kProducts), kProducts[i % std::size(kProducts)]),
        format::scheme_name(products[i].scheme));
  }
  for (const format::SectionType type : {format::SectionType::kProvenance, format::SectionType::kQuantReport}) {
    const std::vector<std::string_view> strings = file.strings(type);
    for (size_t i = 0; i + 1 < strings.size(); i += 2) {
      if (strings[i].starts_with("sqnr_db.")) continue;  // a chart of its own
      report.provenance.emplace_back(strings[i], strings[i + 1]);
    }
  }
}

void add_weights(const std::filesystem::path& checkpoint, const std::filesystem::path& labels, ReportData& report) {
  const Checkpoint source(checkpoint, labels);
  report.source_bytes = source.weight_bytes();
  const auto add = [&report](std::string name, const LinearFloats& linear) {
    const auto product = std::find_if(report.products.begin(), report.products.end(),
                                      [&name](const auto& entry) { return entry.first == name; });
    const std::string scheme = product == report.products.end() ? "" : product->second;
    report.sites.push_back(weight_site(std::move(name), scheme, linear));
  };
  LayerFloats floats;
  for (uint32_t layer = 0; layer < source.config().layer_count; ++layer) {
    floats.read(source, layer);
    add(fmt::format("layer.{}.qkv", layer), floats.qkv);
    add(fmt::format("layer.{}.attention_output", layer), floats.attention_output);
    add(fmt::format("layer.{}.ffn1", layer), floats.ffn1);
    add(fmt::format("layer.{}.ffn2", layer), floats.ffn2);
  }
  add("classifier", read_classifier(source));
}

void add_comparison(const std::string& source, const Comparison& comparison, const Engine& engine,
                    std::span<const std::string> texts, std::span<const Sentence> sentences, ReportData& report) {
  constexpr size_t kMaxExamples = 1000;  // a folder of reports is not the place for a whole corpus
  report.metrics.push_back(
      {source,
       "agreement",
       {},
       comparison.agreement(),
       ReportMetric::Unit::kShare,
       fmt::format("{} of {} words have the float model's label", comparison.same_label, comparison.words)});
  report.metrics.push_back(
      {source,
       "agreement of entities",
       {},
       comparison.entity_agreement(),
       ReportMetric::Unit::kShare,
       fmt::format("F1 as if the float model's {} entities were the truth", comparison.entities.expected)});
  report.metrics.push_back({source,
                            "divergence",
                            {},
                            comparison.mean_divergence(),
                            ReportMetric::Unit::kNumber,
                            "Kullback-Leibler, of the label distributions, nats a word"});
  if (comparison.labelled) add_scores(source, comparison, report);
  if (report.sqnr.empty()) report.sqnr = comparison.sqnr;
  report.changed_words += comparison.changed.size();
  for (const ChangedWord& changed : comparison.changed) {
    if (report.examples.size() == kMaxExamples) break;
    ReportExample& example = report.examples.emplace_back(
        changed.text < texts.size() ? example_of(engine, texts[changed.text], changed.word)
                                    : example_of(sentences[changed.text - texts.size()], changed.word));
    example.source = source;
    example.reference_label = engine.labels()[static_cast<size_t>(changed.reference)];
    example.model_label = engine.labels()[static_cast<size_t>(changed.model)];
  }
}

}  // namespace octobert::converter
