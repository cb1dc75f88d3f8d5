#include "converter/prepare.h"

#include <fmt/format.h>

#include "converter/calibration_samples.h"
#include "converter/compare.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::Scheme;

// What the schemes gain from, measured on the bundled model (docs/QUANTIZATION.md).
CalibrationSettings defaults_of(const Plan& plan) {
  CalibrationSettings settings;
  settings.gptq = settings.bias_correction = true;
  settings.equalize = plan.has(Scheme::kStatic) || plan.has(Scheme::kDynamic);
  if (plan.has(Scheme::kStatic)) {
    // A fixed range is that of all channels: what is best depends on them. Divided by their largest values they have
    // much the same range, so that a rare large value spoils its own channel alone and nothing is won by clipping.
    settings.smooth_quant.reset();
    settings.observer = ObserverKind::kMinMax;
  } else if (plan.has(Scheme::kDynamic)) {
    settings.smooth_quant = 0.65;
  } else if (plan.has(Scheme::kWeightOnlyInt4)) {
    settings.smooth_quant = 0.5;
  }
  return settings;
}

std::string smooth_quant_text(const std::optional<double>& alpha) {
  return alpha ? fmt::format("{:g}", *alpha) : std::string(kSmoothByProduct);
}

Calibration run_calibration(const std::filesystem::path& checkpoint, const ConvertOptions& options,
                            const std::string& file, const CalibrationSettings& settings, Executor& executor,
                            std::vector<std::string>& warnings) {
  const auto report = [&options](size_t done, size_t total) {
    if (options.progress) options.progress({"calibrate", "tokens", done, total});
  };
  CalibrationTexts texts(file);
  texts.leave_out_held(settings.hold_out);
  report(0, 1);
  OpenOptions open;
  open.executor = std::shared_ptr<Executor>(std::shared_ptr<void>(), &executor);
  open.isa = options.isa;
  const FloatModel model(checkpoint, open, options.labels);
  const EncodedTexts encoded = encode_samples(model.engine(), texts, settings.samples, warnings);
  Calibration calibration = calibrate(model.engine(), encoded, settings.gptq, report);
  calibration.source = texts.source();
  return calibration;
}

// The texts to use: the options', or the builtin ones if that is what the policy was made with.
std::string texts_for(const Plan& plan, const Policy* policy, const CalibrationOptions& options) {
  if (!options.texts.empty()) return options.texts;
  const bool builtin = policy != nullptr && policy->calibration_texts == "builtin";
  if (builtin) return "builtin";
  const std::string made_with =
      policy == nullptr || policy->calibration_texts.empty()
          ? ""
          : " (the policy was made with the file of SHA-256 " + policy->calibration_texts + ")";
  if (plan.has(Scheme::kStatic)) {
    throw Error(ErrorCode::kInvalidInput,
                "static products need calibration: name texts like those that the model will "
                "see, or \"builtin\"" +
                    made_with);
  }
  if (any_setting(options) || (policy != nullptr && policy->calibration)) {
    throw Error(ErrorCode::kInvalidInput,
                "settings of calibration without texts: name a file, or \"builtin\"" + made_with);
  }
  return {};
}

// What was measured of one model says nothing of another: its certificate goes.
void drop_certificate(Preparation& result) {
  if (result.policy->certificate.empty()) return;
  result.warnings.push_back("the policy's certificate is left out of the file");
  result.policy->certificate.clear();
}

void check_calibration(Preparation& result) {
  if (!result.policy) return;
  const Policy* policy = &*result.policy;
  const std::string& texts = result.calibration->source;
  if (!policy->calibration_texts.empty() && policy->calibration_texts != texts) {
    result.warnings.push_back(fmt::format(
        "the policy was made with calibration texts {}, these are {}: the file will not be the one that the "
        "policy was measured on",
        policy->calibration_texts, texts));
  } else if (policy->calibration && *policy->calibration != *result.settings) {
    result.warnings.push_back(
        "calibration is not set as in the policy: the file will not be the one that it was measured on");
  } else {
    return;
  }
  drop_certificate(result);
}

}  // namespace

bool any_setting(const CalibrationOptions& options) {
  return options.samples || options.observer || options.smooth_quant || options.equalize || options.gptq ||
         options.bias_correction;
}

CalibrationSettings resolve_settings(const Plan& plan, const Policy* policy, const CalibrationOptions& options,
                                     bool int8_checkpoint) {
  CalibrationSettings settings = int8_checkpoint ? CalibrationSettings{} : defaults_of(plan);
  if (policy != nullptr && policy->calibration) settings = *policy->calibration;
  if (options.samples) settings.samples = *options.samples;
  if (options.observer) settings.observer = parse_observer(*options.observer);
  if (options.smooth_quant) settings.smooth_quant = *options.smooth_quant;
  if (options.equalize) settings.equalize = *options.equalize;
  if (options.gptq) settings.gptq = *options.gptq;
  if (options.bias_correction) settings.bias_correction = *options.bias_correction;
  if (settings.samples == 0) throw Error(ErrorCode::kInvalidInput, "samples is 0, expected 1 or more");
  if (settings.smooth_quant && !(*settings.smooth_quant >= 0 && *settings.smooth_quant <= 1)) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("SmoothQuant's alpha is {}, expected 0 to 1", *settings.smooth_quant));
  }
  return settings;
}

Preparation prepare(const Checkpoint& checkpoint, const ConvertOptions& options, const ConvertInputs& inputs,
                    Executor& executor) {
  const uint32_t layer_count = checkpoint.config().layer_count;
  Preparation result;
  if (inputs.policy != nullptr) {
    result.policy = *inputs.policy;
  } else if (!options.policy.empty()) {
    result.policy = read_policy(options.policy);
  }
  const Policy* policy = result.policy ? &*result.policy : nullptr;
  const std::string source = inputs.policy != nullptr ? "policy" : options.policy.string();
  result.plan =
      policy ? make_plan(*policy, layer_count, source) : make_plan(options.scheme, layer_count, options.group_size);
  const std::string texts = inputs.calibration ? "" : texts_for(result.plan, policy, options.calibration);
  if (inputs.calibration == nullptr && texts.empty()) return result;
  result.settings = resolve_settings(result.plan, policy, options.calibration, !checkpoint.quantization().empty());
  result.calibration = inputs.calibration;
  if (inputs.calibration == nullptr) {
    result.own = std::make_unique<Calibration>(
        run_calibration(checkpoint.folder(), options, texts, *result.settings, executor, result.warnings));
    result.calibration = result.own.get();
  }
  check_calibration(result);
  return result;
}

void Preparation::check_certificate(const std::string& checkpoint_sha256, std::span<const std::string> labels) {
  if (!policy || policy->certificate.empty()) return;
  if (certificate_subject(*policy, checkpoint_sha256, labels) == policy->certificate_of) return;
  warnings.emplace_back(
      policy->certificate_of.empty()
          ? "the policy does not say what its certificate is of (\"certificate_of\")"
          : "the policy was changed since it was tuned, or was tuned for another checkpoint or with other labels");
  drop_certificate(*this);
}

std::string Preparation::describe() const {
  if (!settings) return {};
  std::string text = fmt::format("{} texts, {} tokens, observer {}", calibration->texts, calibration->tokens,
                                 observer_name(settings->observer));
  if (settings->smooth_quant != 0.0) text += ", SmoothQuant " + smooth_quant_text(settings->smooth_quant);
  if (settings->equalize) text += ", equalized";
  if (settings->gptq) text += ", GPTQ";
  if (settings->bias_correction) text += ", bias correction";
  return text;
}

std::vector<std::string> Preparation::strings() const {
  std::vector<std::string> strings;
  const auto add = [&strings](std::string key, std::string value) {
    strings.push_back(std::move(key));
    strings.push_back(std::move(value));
  };
  const auto yes_no = [](bool value) { return std::string(value ? "yes" : "no"); };
  if (settings) {
    add("calibration.texts", calibration->source);
    add("calibration.samples", std::to_string(calibration->texts));
    add("calibration.tokens", std::to_string(calibration->tokens));
    add("calibration.longest_tokens", std::to_string(calibration->longest));
    add("calibration.observer", std::string(observer_name(settings->observer)));
    add("calibration.smooth_quant", smooth_quant_text(settings->smooth_quant));
    add("calibration.equalize", yes_no(settings->equalize));
    add("calibration.gptq", yes_no(settings->gptq));
    add("calibration.bias_correction", yes_no(settings->bias_correction));
    if (settings->hold_out > 0) add("calibration.hold_out", std::to_string(settings->hold_out));
  }
  if (policy) {
    for (const auto& [key, value] : policy->certificate) add("certificate." + key, value);
  }
  return strings;
}

}  // namespace octobert::converter
