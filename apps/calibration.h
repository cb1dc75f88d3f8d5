// --calibrate and what goes with it, of the subcommands that quantize.
#ifndef OCTOBERT_APPS_CALIBRATION_H_
#define OCTOBERT_APPS_CALIBRATION_H_

#include "apps/command.h"
#include "octobert/converter.h"

namespace octobert::apps {

// --calibrate, --samples, --observer, --smooth-quant, --[no-]equalize, --[no-]gptq, --[no-]bias-correction.
void add_calibration_options(CLI::App& command, CalibrationOptions& options);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_CALIBRATION_H_
