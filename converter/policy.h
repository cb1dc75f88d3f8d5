// The policy file: which product of a model is computed how, and how calibration is used. What `octobert tune` writes
// and `octobert convert --policy` reads; a person can write one.
//
//   {"format": 1,
//    "default": "dynamic",                         optional: of the products that are not named
//    "group_size": 16,                             optional: of weight-only-int4
//    "products": {"layer.0.qkv": "static", "layer.0.scores": "static", ..., "classifier": "float"},
//    "calibration": {"texts": "builtin" or a SHA-256, "samples": 512, "observer": "mse",
//                    "smooth_quant": 0.5 or "by product",
//                    "equalize": true, "gptq": true, "bias_correction": true, "hold_out": 4},   optional, and each
//    "certificate": {"key": "value", ...},         optional: goes into the packed file
//    "certificate_of": "..."}                      with a certificate: certificate_subject of what was measured; of
//                                                  anything else, and without it, the certificate is left out
#ifndef OCTOBERT_CONVERTER_POLICY_H_
#define OCTOBERT_CONVERTER_POLICY_H_

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "converter/settings.h"
#include "engine/format.h"
#include "octobert/converter.h"

namespace octobert::converter {

// In place of SmoothQuant's alpha: each product has its own.
inline constexpr std::string_view kSmoothByProduct = "by product";

struct Policy {
  std::optional<format::Scheme> default_scheme;
  int group_size = kDefaultGroupSize;
  std::map<std::string, format::Scheme> products;  // "layer.N.{qkv,scores,context,attention_output,ffn1,ffn2}", ...
  std::optional<CalibrationSettings> calibration;
  std::string calibration_texts;                   // as CalibrationTexts::source; empty: not said
  std::map<std::string, std::string> certificate;  // goes into the packed file's quantization report
  std::string certificate_of;                      // empty: not said
};

// "float", "weight-only", "dynamic", "static", "weight-only-int4", "weight-only-codebook" (format::scheme_name).
// Throws Error(kInvalidInput) naming `what`.
format::Scheme parse_scheme(std::string_view name, const std::string& what);

// Whether int4 weights can have groups of n inputs; and what such an n is, for messages.
bool is_group_size(int64_t n);
std::string group_size_rule();

// Throws Error(kIo, kFormat, kInvalidInput) naming file and field; unknown fields are faults.
Policy read_policy(const std::filesystem::path& path);
Policy parse_policy(std::string_view json, const std::string& source);
std::string policy_json(const Policy& policy);  // ends in a newline; the same policy gives the same bytes
// What a certificate speaks of: SHA-256 of the line of the checkpoint's (SourceHashes::combined) and the policy without
// its certificate.
std::string certificate_subject(const Policy& policy, const std::string& checkpoint_sha256,
                                std::span<const std::string> labels);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_POLICY_H_
