// How calibration is used, once flags, policy and the schemes' own defaults have been brought together.
#ifndef OCTOBERT_CONVERTER_SETTINGS_H_
#define OCTOBERT_CONVERTER_SETTINGS_H_

#include <cstddef>
#include <optional>

#include "converter/observers.h"

namespace octobert::converter {

struct CalibrationSettings {
  size_t samples = 512;
  ObserverKind observer = ObserverKind::kMse;
  // SmoothQuant's alpha, 0: none; no value: the best one for each product (best_smoothing).
  std::optional<double> smooth_quant = 0.0;
  bool equalize = false;
  bool gptq = false;
  bool bias_correction = false;
  size_t hold_out = 0;  // every so-manieth text of the file is left for evaluation; 0: none
  friend bool operator==(const CalibrationSettings&, const CalibrationSettings&) = default;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_SETTINGS_H_
