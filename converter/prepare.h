// What a conversion does, found out before it begins: the plan, and calibration with the settings that flags, policy
// and the schemes' own defaults come to.
#ifndef OCTOBERT_CONVERTER_PREPARE_H_
#define OCTOBERT_CONVERTER_PREPARE_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/convert.h"
#include "converter/plan.h"
#include "converter/policy.h"
#include "converter/settings.h"

namespace octobert::converter {

struct Preparation {
  Plan plan;
  std::optional<CalibrationSettings> settings;  // none: no calibration
  const Calibration* calibration = nullptr;     // `own`, or the caller's
  std::unique_ptr<Calibration> own;
  std::vector<std::string> warnings;
  std::optional<Policy> policy;  // its certificate is dropped as soon as it speaks of something else

  // The checkpoint's SourceHashes::combined, which may be known late, and labels: drops a certificate of others, or of
  // a policy that was changed since.
  void check_certificate(const std::string& checkpoint_sha256, std::span<const std::string> labels);

  // For people: "512 texts, 13,402 tokens, observer mse, SmoothQuant 0.5, GPTQ".
  std::string describe() const;
  // Key, value, ...: what goes into the packed file's quantization report.
  std::vector<std::string> strings() const;
};

// Whether any setting of calibration was given.
bool any_setting(const CalibrationOptions& options);

// The settings for a plan: the scheme's own (nothing that changes weights, if the checkpoint brings int8 weights), or
// the policy's, changed by the options'. Throws Error(kInvalidInput).
CalibrationSettings resolve_settings(const Plan& plan, const Policy* policy, const CalibrationOptions& options,
                                     bool int8_checkpoint = false);

// Reads policy and texts, calibrates. Throws what read_policy, make_plan, CalibrationTexts, encode_samples and
// calibrate throw; Error(kInvalidInput) for static products without texts, and settings without.
Preparation prepare(const Checkpoint& checkpoint, const ConvertOptions& options, const ConvertInputs& inputs,
                    Executor& executor);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PREPARE_H_
