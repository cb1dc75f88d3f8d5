// octobert verify: is this copy of the model, on this machine, the one that was made? And, with its checkpoint: what
// has quantization changed?
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/clipped.h"
#include "apps/command.h"
#include "apps/input.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "converter/calibrate.h"
#include "converter/calibration_samples.h"
#include "converter/compare.h"
#include "converter/report_fill.h"
#include "engine/engine_access.h"
#include "engine/verify_vectors.h"

namespace octobert::apps {
namespace {

using converter::Comparison;
using Json = nlohmann::ordered_json;

struct VerifyOptions {
  std::string model, checkpoint, labels;
  OpenOptions open;
  std::vector<std::string> texts, conll;
  std::optional<double> min_agreement;
  bool json = false, jsonl = false, quiet = false;
  ReportOptions report;
};

// Texts to compare on: a file, or the model's own test vectors.
struct Source {
  std::string name;
  std::vector<std::string> texts;              // without labels
  std::vector<converter::Sentence> sentences;  // with
};

Source read_texts(const std::string& path, bool jsonl) {
  if (converter::is_named_conll(path)) {
    throw Error(ErrorCode::kInvalidInput, path + ": by its name a file of words and labels: give it as such (--conll)");
  }
  Source source{path, {}, {}};
  InputOptions input;
  input.files = {path};
  input.jsonl = jsonl || converter::is_named_json_lines(path);
  // What is measured on other characters than those that were meant says nothing.
  input.require_utf8 = true;
  TextReader reader(input, InvalidUtf8::kError);
  std::vector<InputText> batch;
  while (reader.next(batch)) {
    for (InputText& item : batch) source.texts.push_back(std::move(item.text));
  }
  return source;
}

// warnings: those about the files are added.
std::vector<Source> read_sources(const VerifyOptions& options, const Engine& engine,
                                 std::vector<std::string>& warnings) {
  std::vector<Source> sources;
  for (const std::string& path : options.texts) sources.push_back(read_texts(path, options.jsonl));
  for (const std::string& path : options.conll) {
    sources.push_back({path, {}, converter::read_conll(path)});
    std::string warning = converter::align_labels(path, sources.back().sentences, engine.labels());
    if (!warning.empty()) warnings.push_back(std::move(warning));
  }
  if (sources.empty()) {
    Source vectors{"test vectors", {}, {}};
    for (const TestVectorView& vector : read_test_vectors(EngineAccess::file(engine))) {
      vectors.texts.emplace_back(vector.text);
    }
    sources.push_back(std::move(vectors));
  }
  return sources;
}

Json counts_json(const converter::EntityCounts& counts) {
  return {{"precision", counts.precision()}, {"recall", counts.recall()}, {"f1", counts.f1()},
          {"expected", counts.expected},     {"found", counts.found},     {"correct", counts.correct}};
}

Json scores_json(const converter::EntityScores& scores) {
  Json json = counts_json(scores.all);
  json["by_label"] = Json::object();
  for (const auto& [type, counts] : scores.by_type) json["by_label"][type] = counts_json(counts);
  return json;
}

Json comparison_json(const Comparison& comparison) {
  Json json = {{"agreement", comparison.agreement()},
               {"words", comparison.words},
               {"agreeing", comparison.same_label},
               {"entity_agreement", comparison.entity_agreement()},
               {"kl_divergence", comparison.mean_divergence()}};
  if (comparison.labelled) {
    json["float"] = scores_json(comparison.reference);
    json["model"] = scores_json(comparison.model);
    const converter::PairedEntities& paired = comparison.paired;
    json["paired"] = {{"both", paired.both},
                      {"lost", paired.lost},
                      {"gained", paired.gained},
                      {"neither", paired.neither},
                      {"mcnemar_p", paired.p_value()}};
  }
  return json;
}

// What the comparison with the checkpoint found, for all sources and for each.
struct Compared {
  Comparison all;
  std::vector<std::pair<std::string, Comparison>> files;
  std::vector<std::vector<ClippedShare>> clipped;  // of each file
  std::vector<std::string> warnings;
};

// report: its parts that come of the comparison are filled in.
Compared compare(const VerifyOptions& options, const Engine& engine, converter::ReportData& report) {
  Compared result;
  const std::vector<Source> sources = read_sources(options, engine, result.warnings);
  for (const std::string& warning : result.warnings) print_message("warning: " + warning);
  report.warnings = result.warnings;
  const converter::FloatModel reference(options.checkpoint, options.open, options.labels);
  Progress bar(options.quiet || options.json);
  std::vector<ClippedShare> before = engine.clipped();
  for (const Source& source : sources) {
    const auto progress = [&](size_t done, size_t total) { bar.update("comparing on", source.name, done, total); };
    const converter::EncodedTexts encoded = source.sentences.empty()
                                                ? converter::encode_texts(engine, source.texts)
                                                : converter::encode_sentences(engine, source.sentences);
    const Comparison comparison =
        converter::compare_models(reference.engine(), engine, encoded, source.sentences, progress);
    // Nothing to compare would be agreement on everything, and meet every bar.
    if (comparison.words == 0) throw Error(ErrorCode::kInvalidInput, source.name + ": no words in it to compare on");
    if (options.report.wanted()) {
      if (result.files.empty()) {
        converter::add_activations(converter::calibrate(reference.engine(), encoded, false),
                                   EngineAccess::model(engine), report);
      }
      converter::add_comparison(source.name, comparison, engine, source.texts, source.sentences, report);
    }
    result.all.add(comparison);
    result.files.emplace_back(source.name, comparison);
    std::vector<ClippedShare> now = engine.clipped();
    result.clipped.push_back(clipped_since(before, now));
    before = std::move(now);
  }
  return result;
}

std::string scores_line(const std::string& name, const converter::EntityCounts& f, const converter::EntityCounts& m) {
  return fmt::format("  {:<12} {:>8} {:>8.2f} {:>8.2f} {:>8.2f}   {:>8.2f} {:>8.2f} {:>8.2f}\n", name, f.expected,
                     100 * f.precision(), 100 * f.recall(), 100 * f.f1(), 100 * m.precision(), 100 * m.recall(),
                     100 * m.f1());
}

std::string scores_text(const Comparison& all) {
  const converter::EntityCounts none;
  std::string out =
      fmt::format("entities, %:{:>9} {:>26}   {:>26}\n  {:<12} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8}\n", "",
                  "float model", "this model", "label", "in text", "P", "R", "F1", "P", "R", "F1");
  for (const auto& [type, counts] : all.reference.by_type) {
    const auto found = all.model.by_type.find(type);
    out += scores_line(printable(type), counts, found == all.model.by_type.end() ? none : found->second);
  }
  out += scores_line("all", all.reference.all, all.model.all);
  return out + fmt::format("  {} entities right to wrong, {} wrong to right: McNemar p = {:.3g}\n", all.paired.lost,
                           all.paired.gained, all.paired.p_value());
}

std::string compared_text(const Compared& compared) {
  std::string out =
      fmt::format("with the float model's label: {:>21} {:>20} {:>16}\n", "words, %", "entities, %", "KL divergence");
  const auto line = [&out](const std::string& name, const Comparison& c) {
    out += fmt::format("  {:<32} {:>8.3f} of {:<8} {:>8.3f} {:>16.3g}\n", name, 100 * c.agreement(), c.words,
                       100 * c.entity_agreement(), c.mean_divergence());
  };
  for (const auto& [name, comparison] : compared.files) line(name, comparison);
  if (compared.files.size() > 1) line("all", compared.all);
  if (compared.all.labelled) out += scores_text(compared.all);
  for (size_t i = 0; i < compared.files.size(); ++i) {
    const std::string clipped = clipped_text(compared.clipped[i]);
    if (!clipped.empty()) out += compared.files[i].first + ": " + clipped;
  }
  out += "signal-to-quantization-noise, dB, lowest first:\n";
  std::vector<LayerSqnr> sorted = compared.files.front().second.sqnr;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.decibel < b.decibel; });
  for (const LayerSqnr& layer : sorted) out += fmt::format("  {:<32} {:>8.2f}\n", layer.name, layer.decibel);
  return out;
}

void add_compared(const Compared& compared, Json& json) {
  json["warnings"] = compared.warnings;
  json.update(comparison_json(compared.all));
  for (const auto& [name, comparison] : compared.files) {
    Json file = {{"file", name}};
    file.update(comparison_json(comparison));
    if (const auto& clipped = compared.clipped[json["files"].size()]; !clipped.empty()) {
      file["clipped"] = clipped_json(clipped);
    }
    json["files"].push_back(file);
  }
  for (const LayerSqnr& layer : compared.files.front().second.sqnr) {
    // Equal results have no noise; JSON has no infinity.
    json["sqnr_db"][layer.name] = std::isfinite(layer.decibel) ? Json(layer.decibel) : Json();
  }
}

converter::ReportClipped clipped_of_report(const std::string& source, std::span<const ClippedShare> sites) {
  converter::ReportClipped clipped{source, {}};
  for (const ClippedShare& site : sites) clipped.shares.push_back({site.product, share(site)});
  return clipped;
}

// Whether or not the bars are met: that is when one wants to look.
void write_verify_report(const VerifyOptions& options, const Engine& engine, const VectorReport& vectors,
                         converter::ReportData& report) {
  if (!options.report.wanted()) return;
  report.title = "octobert verify";
  report.model = std::filesystem::path(options.model).filename().string();
  report.provenance = {{"test vectors equal", fmt::format("{} of {} ({})", vectors.vectors - vectors.mismatches.size(),
                                                          vectors.vectors, engine.isa())}};
  for (const VectorMismatch& mismatch : vectors.mismatches) {
    report.warnings.push_back(fmt::format("test vector {}: {}", mismatch.vector, mismatch.message));
  }
  converter::add_model_file(EngineAccess::file(engine), report);
  if (!options.checkpoint.empty()) converter::add_weights(options.checkpoint, options.labels, report);
  write_reports(options.report, report);
}

int run_verify(const VerifyOptions& options) {
  check_report_options(options.report);
  OpenOptions open = options.open;
  open.verify_all = true;
  const Engine engine = Engine::open(options.model, open);
  const VectorReport vectors = verify_vectors(engine);
  for (const VectorMismatch& mismatch : vectors.mismatches) {
    print_message(fmt::format("{}: test vector {}: {}", options.model, mismatch.vector, mismatch.message));
  }
  bool met = vectors.mismatches.empty();
  Json json = {{"file", options.model},
               {"isa", engine.isa()},
               {"vectors", vectors.vectors},
               {"vector_mismatches", vectors.mismatches.size()}};
  std::string text =
      fmt::format("{}: every checksum right; {} of {} test vectors equal ({} tokens, {})\n", options.model,
                  vectors.vectors - vectors.mismatches.size(), vectors.vectors, vectors.tokens, engine.isa());
  converter::ReportData report;
  if (options.checkpoint.empty()) {
    report.clipped.push_back(clipped_of_report("test vectors", engine.clipped()));
  } else {
    const Compared compared = compare(options, engine, report);
    for (size_t i = 0; i < compared.files.size(); ++i) {
      report.clipped.push_back(clipped_of_report(compared.files[i].first, compared.clipped[i]));
    }
    add_compared(compared, json);
    text += compared_text(compared);
    for (const auto& [name, comparison] : compared.files) {
      if (!options.min_agreement || comparison.agreement() >= *options.min_agreement) continue;
      met = false;
      print_message(
          fmt::format("{}: agreement {:.5f} is below {}", name, comparison.agreement(), *options.min_agreement));
    }
  }
  write_verify_report(options, engine, vectors, report);
  Output output;
  output.text() = options.json ? json_line(json) : text;
  output.flush();
  return met ? kExitOk : kExitBarNotMet;
}

constexpr const char* kExamples = R"(Examples:
  octobert verify model.octo
  octobert verify model.octo --against my-checkpoint --conll test.tsv --min-agreement 0.997
  octobert verify model.octo --against my-checkpoint --text news.txt chats.txt --json

Every checksum is checked and the file's own test vectors are replayed: ids and logits must come out bit for bit. With
--against the float model of the checkpoint runs beside it; words are compared by the label of their first piece,
entities by exact span and type (I-X after O or another type opens one). The signal-to-quantization-noise ratios are
those of the first file. --json: fractions of 1, for all files and for each:
  {"vectors","vector_mismatches","warnings":[...],"agreement","entity_agreement","kl_divergence",
   "float":{"f1",...},"model":{"f1",...},"paired":{"lost","gained","mcnemar_p"},"files":[{...,"clipped":{...}}],"sqnr_db":{...}}

Exit status: 0; 1 if a file has a fault; 2 for a wrong command line; 3 if a test vector comes out different, or a
file's agreement is below --min-agreement.)";

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand("verify", "Replay the file's test vectors; compare with the float model");
  command->footer(kExamples);
  command->add_option("MODEL", options->model, "Packed model")->required()->type_name("M.octo");
  auto* against = command->add_option("--against", options->checkpoint, "The checkpoint that the model was made from")
                      ->type_name("CHECKPOINT_DIR");
  command
      ->add_option("--labels", options->labels,
                   "The checkpoint's label names as for convert: if config.json does not say how many there are")
      ->needs(against)
      ->type_name("F");
  command
      ->add_option("--text", options->texts,
                   fmt::format("Compare on these texts: lines, or JSON lines ({}), each a string, an object with "
                               "\"text\" or an array of words",
                               fmt::join(converter::kJsonLinesEndings, ", ")))
      ->needs(against)
      ->type_name("F");
  command->add_option("--conll", options->conll, "Compare on these sentences: WORD TAB LABEL, an empty line after each")
      ->needs(against)
      ->type_name("F");
  command->add_flag("--jsonl", options->jsonl, "Lines of --text are JSON, whatever the name");
  command->add_option("--min-agreement", options->min_agreement, "Least share (0 to 1) of words with the float label")
      ->needs(against)
      ->check(number_in(0, 1))
      ->type_name("X");
  add_report_options(*command, options->report);
  command->add_flag("--json", options->json, "As a JSON object");
  command->add_flag("--quiet", options->quiet, "No progress");
  add_engine_options(*command, options->open);
  command->callback([options, &action] {
    std::vector<std::string> inputs = {options->model, options->labels};
    inputs.insert(inputs.end(), options->texts.begin(), options->texts.end());
    inputs.insert(inputs.end(), options->conll.begin(), options->conll.end());
    require_outputs_apart(report_files(options->report), inputs, options->checkpoint);
    action = [options] { return run_verify(*options); };
  });
}

}  // namespace octobert::apps
