// The fastest form of a model that stays within a budget of accuracy: calibrate, see what each product costs and
// spoils, search, and check the result on texts that none of this has seen.
#ifndef OCTOBERT_CONVERTER_TUNE_H_
#define OCTOBERT_CONVERTER_TUNE_H_

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "converter/compare.h"
#include "converter/policy.h"
#include "converter/report_data.h"
#include "octobert/converter.h"

namespace octobert::converter {

// Every so-manieth text of each file is held out: neither calibrated on nor tuned on, only reported.
inline constexpr size_t kHoldOut = 4;

struct TuneOptions {
  std::vector<std::filesystem::path> texts, conll;  // as CalibrationTexts, read_conll(); at least one file
  // At least one; fractions of 1. All must hold, on the texts that are tuned on and on those held out.
  std::optional<double> min_agreement;  // words with the float model's label
  std::optional<double> max_f1_loss;    // by entity, against the files' labels: needs conll, and only those count
  // threads, isa, labels, test_texts, allow_padded_vocabulary, progress, calibration; without calibration.texts the
  // first of the files is calibrated on. The rest is not used.
  ConvertOptions convert;
};

// What was measured of a choice.
struct TuneMeasure {
  Comparison tuned, held_out;
};

struct TuneResult {
  bool met = false;              // the budget; if not, this is the best that was found
  Policy policy;                 // with the certificate
  std::vector<std::byte> model;  // the packed file: what convert() makes of the policy and the same texts
  TuneMeasure measure;
  struct Times {
    std::string name;  // "static", "dynamic", "float": all products; "this model"
    double milliseconds;
  };
  std::vector<Times> times;  // of one pass over `timed_tokens` tokens
  size_t timed_tokens = 0, trials = 0;
  ReportData report;  // all of it, for a page or an event file
};

// Throws Error(kInvalidInput) for a budget or files that can't be used, what reading the files and the checkpoint
// throw. A budget that cannot be met is a result.
TuneResult tune(const std::filesystem::path& checkpoint, const TuneOptions& options);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TUNE_H_
