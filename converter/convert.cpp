// The checkpoint's way: folder -> float tensors -> quantized, checked beside the float model -> packed file. One part
// of the model at a time: no more than an encoder layer (or the word table) is in memory; before that, if there is
// calibration, the whole float model.
#include "converter/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "converter/check.h"
#include "converter/checkpoint.h"
#include "converter/imported_recipe.h"
#include "converter/model_parts.h"
#include "converter/model_writer.h"
#include "converter/plan.h"
#include "converter/prepare.h"
#include "converter/provenance.h"
#include "converter/recipe.h"
#include "converter/test_texts.h"
#include "converter/tokenizer_import.h"
#include "engine/fp_guard.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "octobert/converter.h"
#include "octobert/error.h"

namespace octobert {
namespace converter {
namespace {

using format::SectionType;

constexpr uint32_t kSectionsBesideLayers = 16;  // config, labels, tokenizer, ..., classifier; and some room

const KernelTable& find_kernels(const std::string& isa) {
  const CpuFeatures features = detect_cpu_features();
  if (isa.empty()) return best_table(features);
  const KernelTable* table = find_table(isa);
  if (!table || !is_available(*table, features)) {
    throw Error(ErrorCode::kUnsupported, fmt::format("instruction set '{}' is not available here", isa));
  }
  return *table;
}

const ConvertOptions& checked(const ConvertOptions& options) {
  if (options.threads < 0) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("threads is {}, expected 0 or more", options.threads));
  }
  if (!(options.min_agreement >= 0 && options.min_agreement <= 1)) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("min_agreement is {}, expected a fraction from 0 to 1", options.min_agreement));
  }
  if (options.min_agreement > 0 && !options.check) {
    throw Error(ErrorCode::kInvalidInput, "min_agreement needs the check that was turned off");
  }
  if (options.scheme == "float" && options.policy.empty() && !options.calibration.texts.empty()) {
    throw Error(ErrorCode::kInvalidInput, "scheme 'float' has nothing to calibrate: name another, or no texts");
  }
  return options;
}

// Tokens that a text may have: the engine's window.
size_t window(const Tokenizer& tokenizer, const format::ModelConfig& config) {
  const size_t positions = config.max_positions, configured = tokenizer.model_max_length();
  return configured == 0 ? positions : std::min(positions, configured);
}

// What the tokenizer can give must be what the model can take.
void check_tokenizer(const Tokenizer& tokenizer, const Checkpoint& checkpoint, bool allow_padded_vocabulary) {
  const size_t rows = checkpoint.config().vocab_size, tokens = tokenizer.vocab_size();
  const std::string folder = checkpoint.folder().string();
  if (tokens > rows || (tokens < rows && !allow_padded_vocabulary)) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: the tokenizer's vocabulary has {} ids, the model {} word embeddings "
                            "(config.json: vocab_size): expected the same number",
                            folder, tokens, rows));
  }
  if (window(tokenizer, checkpoint.config()) <= tokenizer.special_count()) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: a window of {} tokens (the smaller of config.json: max_position_embeddings and "
                            "tokenizer_config.json: model_max_length) has no room for text beside {} special tokens",
                            folder, window(tokenizer, checkpoint.config()), tokenizer.special_count()));
  }
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Static with the ranges that the checkpoint brings along: nobody named texts to find others.
bool wants_imported_ranges(const ConvertOptions& options, const ConvertInputs& inputs) {
  return options.scheme == "static" && options.policy.empty() && inputs.policy == nullptr &&
         inputs.calibration == nullptr && options.calibration.texts.empty();
}

Preparation prepare_imported(const Checkpoint& checkpoint, const CalibrationOptions& calibration) {
  if (any_setting(calibration)) {
    throw Error(
        ErrorCode::kInvalidInput,
        "settings of calibration beside the checkpoint's own ranges, which need none: name texts to find others "
        "(--calibrate), or leave the settings out");
  }
  Preparation preparation;
  preparation.plan = imported_plan(checkpoint, preparation.warnings);
  return preparation;
}

bool stores_int8(format::Scheme scheme) {
  return scheme == format::Scheme::kStatic || scheme == format::Scheme::kDynamic ||
         scheme == format::Scheme::kWeightOnly;
}

// What the steps of one conversion share.
class Conversion {
 public:
  // Into the file `output`, or into memory if it is null.
  Conversion(const std::filesystem::path& folder, const std::filesystem::path* output, const ConvertOptions& options,
             const ConvertInputs& inputs)
      : options_(checked(options)),
        kernels_(find_kernels(options.isa)),
        pool_(options.threads),
        checkpoint_(folder, options.labels),
        has_ranges_(has_imported_ranges(checkpoint_)),
        imports_ranges_(has_ranges_ && wants_imported_ranges(options, inputs)),
        preparation_(imports_ranges_ ? prepare_imported(checkpoint_, options.calibration)
                                     : prepare(checkpoint_, options, inputs, pool_)),
        plan_(preparation_.plan),
        float_plan_(make_plan("float", checkpoint_.config().layer_count)),
        tokenizer_(load_tokenizer(folder)),
        writer_(make_writer(output, checkpoint_.config().layer_count + kSectionsBesideLayers)) {
    check_tokenizer(tokenizer_.tokenizer, checkpoint_, options.allow_padded_vocabulary);
    hashes_ = std::async(std::launch::async, hash_sources, folder, source_files(checkpoint_));
    const std::vector<std::string> texts = options.test_texts.empty() ? builtin_test_texts() : options.test_texts;
    const bool with_float = options.check && plan_.asked_for != format::Scheme::kFloat;
    check_.emplace(pool_, kernels_, checkpoint_.config(),
                   make_test_batch(tokenizer_.tokenizer, texts, window(tokenizer_.tokenizer, checkpoint_.config())),
                   with_float);
  }

  // The whole way, in order.
  void run() {
    write_head();
    convert_embeddings();
    for (uint32_t index = 0; index < checkpoint_.config().layer_count; ++index) convert_layer(index);
    convert_classifier();
    require_agreement();
    write_tail();
  }

  ConvertReport report() const {
    ConvertReport report;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    report.source_bytes = checkpoint_.weight_bytes();
    report.output_bytes = writer_->size();
    report.source_sha256 = sources_.combined;
    report.agreement = agreement();
    report.agreement_tokens = check_->tokens();
    report.sqnr = check_->sqnr();
    report.warnings = checkpoint_.warnings();
    report.warnings.insert(report.warnings.end(), tokenizer_.warnings.begin(), tokenizer_.warnings.end());
    report.warnings.insert(report.warnings.end(), preparation_.warnings.begin(), preparation_.warnings.end());
    report.minus_128_replaced = minus_128_replaced_;
    if (!imports_ranges_ && has_ranges_) {
      report.warnings.emplace_back(
          "the checkpoint's fixed ranges of activations are not used: static without calibration does");
    }
    if (preparation_.calibration != nullptr) {
      report.calibration = preparation_.calibration->source;
      report.calibration_texts = preparation_.calibration->texts;
      report.calibration_tokens = preparation_.calibration->tokens;
      report.calibration_settings = preparation_.describe();
    }
    return report;
  }

  std::vector<std::byte> take_bytes() { return writer_->take(); }
  std::unique_ptr<Calibration> take_calibration() { return std::move(preparation_.own); }

 private:
  static std::unique_ptr<ModelWriter> make_writer(const std::filesystem::path* output, uint32_t max_sections) {
    return output ? std::make_unique<ModelWriter>(*output, max_sections) : std::make_unique<ModelWriter>(max_sections);
  }

  void write_head() {
    format::ModelConfig config = checkpoint_.config();
    config.scheme = static_cast<uint32_t>(plan_.asked_for);
    writer_->add_section(SectionType::kConfig, "config", std::as_bytes(std::span(&config, 1)), true);
    writer_->add_section(SectionType::kLabels, "labels", encode_strings(checkpoint_.labels()), true);
    writer_->add_section(SectionType::kTokenizer, "tokenizer", tokenizer_.bytes, true);
    writer_->add_section(SectionType::kProducts, "products", bytes_of(plan_.product_entries()), true);
  }

  void convert_embeddings() {
    progress("read", "embeddings");
    const EmbeddingParts parts(pool_, checkpoint_, plan_.int8_words);
    progress("check", "embeddings");
    std::vector<float> words;
    Embeddings floats;
    if (check_->with_float()) floats = parts.with_float_words(checkpoint_, check_->distinct_ids(), words);
    check_->embeddings(&floats, parts.view());
    progress("write", "embeddings");
    writer_->add_embeddings(checkpoint_.config(), parts.view());
    ++parts_done_;
  }

  void convert_layer(uint32_t index) {
    const std::string name = fmt::format("layer {}", index);
    progress("read", name);
    floats_.read(checkpoint_, index);
    progress("quantize", name);
    std::optional<PackedLayer> reference;
    if (check_->with_float()) reference.emplace(pool_, float_plan_.layers[index], floats_);
    std::optional<LayerRecipe> recipe;
    if (preparation_.settings) {
      recipe = make_layer_recipe(pool_, preparation_.calibration->layers[index], *preparation_.settings,
                                 checkpoint_.config().head_count, fmt::format("layer.{}", index), floats_);
    }
    if (imports_ranges_) recipe = imported_recipe(checkpoint_, index);
    const PackedLayer packed(pool_, plan_.layers[index], floats_, recipe ? &*recipe : nullptr);
    count_replaced(plan_.layers[index]);
    progress("check", name);
    check_->layer(index, reference ? &reference->view() : nullptr, packed.view(), plan_.after_layer(index));
    progress("write", name);
    writer_->add_layer(checkpoint_.config(), index, packed.view());
    ++parts_done_;
  }

  void count_replaced(const LayerPlan& plan) {
    const std::pair<format::Scheme, const LinearFloats&> products[] = {
        {plan.qkv, floats_.qkv},
        {plan.attention_output, floats_.attention_output},
        {plan.ffn1, floats_.ffn1},
        {plan.ffn2, floats_.ffn2}};
    for (const auto& [scheme, floats] : products) {
      if (stores_int8(scheme) && !floats.given.q.empty()) minus_128_replaced_ += floats.minus_128_replaced;
    }
  }

  void convert_classifier() {
    progress("read", "classifier");
    const LinearFloats floats = read_classifier(checkpoint_);
    std::optional<ProductRecipe> recipe;
    if (preparation_.settings && plan_.classifier != format::Scheme::kFloat) {
      recipe = make_product_recipe(pool_, *preparation_.calibration->classifier_input, *preparation_.settings, true,
                                   "classifier's input", floats);
    }
    const PackedLinear packed =
        pack_linear(pool_, plan_.classifier, plan_.group_size, floats, recipe ? &*recipe : nullptr);
    const PackedLinear reference(pool_, float_plan_.classifier, floats.weight, floats.bias, floats.n, floats.k);
    progress("check", "classifier");
    check_->classifier(&reference.view(), packed.view());
    writer_->add_classifier(packed.view());
    ++parts_done_;
  }

  void require_agreement() const {
    const double agreement = this->agreement();
    if (agreement >= options_.min_agreement) return;
    throw Error(
        ErrorCode::kCheckFailed,
        fmt::format("only {} of {} test tokens ({:.2f} %) get the float model's label, {:.2f} % were asked for: "
                    "nothing is written",
                    check_->agreeing_tokens(), check_->tokens(), 100 * agreement, 100 * options_.min_agreement));
  }

  void write_tail() {
    progress("write", "report");
    const std::vector<std::byte> vectors =
        encode_test_vectors(check_->test_vectors(), checkpoint_.config().label_count);
    writer_->add_section(SectionType::kTestVectors, "test vectors", vectors, false);
    sources_ = hashes_.get();
    preparation_.check_certificate(sources_.combined, checkpoint_.labels());
    std::vector<std::string> provenance = provenance_strings(sources_);
    if (!options_.labels.empty()) {
      provenance.insert(provenance.end(), {"labels.sha256", sha256_of_file(options_.labels)});
    }
    writer_->add_section(SectionType::kProvenance, "provenance", encode_strings(provenance), false);
    if (const std::vector<std::string> strings = measurements(); !strings.empty()) {
      writer_->add_section(SectionType::kQuantReport, "quantization report", encode_strings(strings), false);
    }
    writer_->finish();
    ++parts_done_;
    progress("write", "done");
  }

  double agreement() const {
    if (check_->tokens() == 0) return 1;
    return static_cast<double>(check_->agreeing_tokens()) / static_cast<double>(check_->tokens());
  }

  // Key, value, ...: the section that tells what was measured.
  std::vector<std::string> measurements() const {
    std::vector<std::string> strings = preparation_.strings();
    if (!checkpoint_.quantization().empty()) {
      strings.insert(strings.end(), {"import.minus_128_replaced", std::to_string(minus_128_replaced_), "import.ranges",
                                     imports_ranges_ ? "yes" : "no"});
    }
    if (!check_->with_float()) return strings;
    strings.insert(strings.end(), {"agreement.tokens", std::to_string(check_->tokens()), "agreement.same_label",
                                   std::to_string(check_->agreeing_tokens())});
    for (const auto& [name, value] : check_->sqnr()) {
      strings.push_back(fmt::format("sqnr_db.{}", name));
      strings.push_back(fmt::format("{:.2f}", value));
    }
    return strings;
  }

  void progress(std::string_view stage, std::string_view item) const {
    // Parts: embeddings, the layers, the classifier, the rest of the file.
    if (options_.progress) options_.progress({stage, item, parts_done_, size_t{checkpoint_.config().layer_count} + 3});
  }

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const ConvertOptions& options_;
  const KernelTable& kernels_;
  ThreadPool pool_;
  const Checkpoint checkpoint_;
  const bool has_ranges_, imports_ranges_;  // faults of ranges are told even where they are not used
  Preparation preparation_;
  const Plan &plan_, float_plan_;
  const LoadedTokenizer tokenizer_;
  const std::unique_ptr<ModelWriter> writer_;
  std::future<SourceHashes> hashes_;
  SourceHashes sources_;
  std::optional<Check> check_;
  LayerFloats floats_;
  size_t parts_done_ = 0, minus_128_replaced_ = 0;
};

}  // namespace

std::vector<std::byte> convert_to_memory(const std::filesystem::path& checkpoint, const ConvertOptions& options,
                                         const ConvertInputs& inputs, ConvertReport* report) {
  const FpGuard guard;
  Conversion conversion(checkpoint, nullptr, options, inputs);
  conversion.run();
  if (report != nullptr) *report = conversion.report();
  return conversion.take_bytes();
}

ConvertReport convert_and_show(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                               const ConvertOptions& options, std::unique_ptr<Calibration>& seen) {
  const FpGuard guard;
  Conversion conversion(checkpoint, &output, options, {});
  conversion.run();
  ConvertReport report = conversion.report();
  seen = conversion.take_calibration();
  return report;
}

}  // namespace converter

ConvertReport convert(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                      const ConvertOptions& options) {
  std::unique_ptr<converter::Calibration> seen;
  return converter::convert_and_show(checkpoint, output, options, seen);
}

}  // namespace octobert
