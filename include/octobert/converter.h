// HuggingFace checkpoint folder -> one packed file. Library octobert_converter.
#ifndef OCTOBERT_CONVERTER_H_
#define OCTOBERT_CONVERTER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/export.h"

namespace octobert {

struct ConvertProgress {
  std::string_view stage;  // "calibrate", "read", "quantize", "check", "write"
  std::string_view item;   // e.g. "layer 3"
  size_t done, total;
};

// The float model is run over some texts, and what is seen of its activations is used: by "static", which needs it,
// and by what improves the others. What is not set is the policy's, or else the scheme's own (docs/QUANTIZATION.md).
struct CalibrationOptions {
  // A file, or "builtin"; empty: no calibration. .tsv, .conll, .bio, .iob: CoNLL; .jsonl, .json: JSON lines; else
  // lines.
  std::string texts;
  std::optional<size_t> samples;        // texts to use, 512
  std::optional<std::string> observer;  // "minmax", "moving-average", "percentile", "mse", "kl"
  std::optional<double> smooth_quant;   // SmoothQuant's alpha, 0 (off) to 1; default: the scheme's
  std::optional<bool> equalize;         // channels of Q against K, of V against attention's output
  std::optional<bool> gptq;             // weights are rounded by what they are multiplied with
  std::optional<bool> bias_correction;
};

// In groups of 32, int4 costs the bundled model's F1 what a test can tell; of 16, nothing of the kind.
inline constexpr int kDefaultGroupSize = 16;

struct ConvertOptions {
  // "static", "dynamic", "weight-only", "weight-only-int4", "weight-only-codebook", "float" (docs/QUANTIZATION.md).
  std::string scheme = "dynamic";
  int group_size = kDefaultGroupSize;  // weight-only-int4: inputs that share a scale, a multiple of 8
  std::filesystem::path policy;        // instead of scheme and group_size: a file that names a scheme for each product
  CalibrationOptions calibration;
  double min_agreement = 0;             // fraction of test tokens with the float label; below it nothing is written
  std::filesystem::path labels;         // optional: one name a line, replaces the checkpoint's
  std::vector<std::string> test_texts;  // empty: the built-in ones
  int threads = 0;                      // 0: usable_cores()
  std::string isa;                      // "": the best available; as OpenOptions::isa. Changes no byte
  bool check = true;                    // run the float model beside the quantized one
  // Accept embedding rows past the tokenizer's last id (vocabularies padded to a multiple of 8, say). Without it the
  // two must be equal: a vocabulary that lost its end looks the same.
  bool allow_padded_vocabulary = false;
  std::function<void(const ConvertProgress&)> progress;
};

// Signal-to-quantization-noise ratio of one intermediate result against the float model, in dB:
// 10 log10(sum float^2 / sum (float - quantized)^2).
struct LayerSqnr {
  std::string name;  // "layer.3.ffn2", "logits"
  double decibel;
};

struct ConvertReport {
  uint64_t source_bytes = 0, output_bytes = 0;
  double seconds = 0;
  std::string source_sha256;
  double agreement = 1;  // share of test tokens (specials excluded) with the float label
  size_t agreement_tokens = 0;
  std::vector<LayerSqnr> sqnr;    // in the order of computation
  size_t minus_128_replaced = 0;  // imported int8 weights of -128 made -127
  // What was calibrated on: "builtin" or the file's SHA-256, empty if nothing; texts and tokens of them; what was done.
  std::string calibration;
  size_t calibration_texts = 0, calibration_tokens = 0;
  std::string calibration_settings;
  std::vector<std::string> warnings;  // LABEL_0 names, labels that strip to an ignored name, ...
};

// Writes `output` atomically (temporary file in the same folder, fsync, rename): on any error or kill no file is
// under the final name that was not there before. Deterministic: the same input gives the same bytes on every
// machine and for every number of threads. Throws Error; kCheckFailed if min_agreement is not met.
OCTOBERT_API ConvertReport convert(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                                   const ConvertOptions& options = {});

}  // namespace octobert

#endif  // OCTOBERT_CONVERTER_H_
