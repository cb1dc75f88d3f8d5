#include "apps/calibration.h"

#include <fmt/format.h>

#include <string>

#include "converter/calibration_samples.h"

namespace octobert::apps {
namespace {

// --NAME and --no-NAME: true, false, or (neither) what the scheme or the policy says.
void add_switch(CLI::App& command, const std::string& name, std::optional<bool>& value, const std::string& help) {
  CLI::Option* on = command.add_flag_callback(
      "--" + name, [&value] { value = true; }, help);
  CLI::Option* off = command.add_flag_callback(
      "--no-" + name, [&value] { value = false; }, "");
  off->excludes(on);
}

}  // namespace

void add_calibration_options(CLI::App& command, CalibrationOptions& options) {
  constexpr const char* kGroup = "Calibration";
  command
      .add_option(
          "--calibrate", options.texts,
          fmt::format("Texts like those that the model will see, without labels: lines, JSON lines ({}), or CoNLL "
                      "({}); \"builtin\": some of our own in several languages",
                      fmt::join(converter::kJsonLinesEndings, ", "), fmt::join(converter::kConllEndings, ", ")))
      ->type_name("F|builtin");
  command.add_option("--samples", options.samples, "How many of them to use, evenly over the file (512)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N");
  command.add_option("--observer", options.observer, "How a fixed range is chosen (minmax for static, else mse)")
      ->check(CLI::IsMember({"minmax", "moving-average", "percentile", "mse", "kl"}).description(""))
      ->type_name("minmax|moving-average|percentile|mse|kl");
  command
      .add_option(
          "--smooth-quant", options.smooth_quant,
          "Move outliers of activations into the weights, by this share (0: off; SmoothQuant's alpha). Default: "
          "0.65 for dynamic, 0.5 for int4, what is best for each product where one is static")
      ->check(number_in(0, 1))
      ->type_name("ALPHA");
  add_switch(command, "equalize", options.equalize, "Balance the channels of Q and K, and of V and what reads it");
  add_switch(command, "gptq", options.gptq, "Round weights by what they are multiplied with");
  add_switch(command, "bias-correction", options.bias_correction, "Take the mean of the rounding out of the biases");
  for (const char* name : {"--calibrate", "--samples", "--observer", "--smooth-quant", "--equalize", "--no-equalize",
                           "--gptq", "--no-gptq", "--bias-correction", "--no-bias-correction"}) {
    command.get_option(name)->group(kGroup);
  }
}

}  // namespace octobert::apps
