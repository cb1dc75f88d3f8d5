// The files that `tune` is given, in the parts that it uses them in.
#ifndef OCTOBERT_CONVERTER_TUNE_TEXTS_H_
#define OCTOBERT_CONVERTER_TUNE_TEXTS_H_

#include <string>
#include <vector>

#include "converter/calibration_samples.h"
#include "converter/compare.h"
#include "converter/evaluate.h"
#include "converter/report_data.h"
#include "converter/tune.h"

namespace octobert::converter {

// Texts and their labels, encoded: sentences[i] belongs to encoded.first_pieces[i]. A text without words of its own is
// one word, and has no labels.
struct TunePart {
  EncodedTexts encoded;
  std::vector<Sentence> sentences;
  size_t lines = 0;  // so many of them, at the front, are lines; the others have words of their own
};

struct TuneFiles {
  TunePart tuned, held_out;
  TunePart sample;  // a few thousand tokens of `tuned`, evenly over the files
  // File name without folder, SHA-256: options.texts', then options.conll's.
  std::vector<std::pair<std::string, std::string>> hashes;
  std::vector<std::string> warnings;
};

// Throws Error(kInvalidInput) for files with too few texts to hold some out, without words, and with labels of which
// the model has none or can have none (align_labels), or, for a budget of F1, without entities.
TuneFiles read_tune_files(const TuneOptions& options, const Engine& model);

// The texts that options name for calibration (the first file if none), without those that are held out. files: what
// read_tune_files() gave.
// hold_out: what CalibrationSettings::hold_out must be so that convert() sees the same texts.
// Throws what CalibrationTexts throws.
CalibrationTexts calibration_texts_of(const TuneOptions& options, const TuneFiles& files, size_t& hold_out);

// add_comparison() of a part: what `engine` made of it, compared.
void report_part(const std::string& source, const TunePart& part, const Comparison& comparison, const Engine& engine,
                 ReportData& report);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TUNE_TEXTS_H_
