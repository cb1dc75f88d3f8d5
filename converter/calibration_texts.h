// Texts to calibrate on where the user has none.
#ifndef OCTOBERT_CONVERTER_CALIBRATION_TEXTS_H_
#define OCTOBERT_CONVERTER_CALIBRATION_TEXTS_H_

#include <string>
#include <vector>

namespace octobert::converter {

// Written for this project: news, letters, notices, messages, tables, code and noise in two dozen languages, of one
// word to a page. `--calibrate builtin`.
std::vector<std::string> builtin_calibration_texts();

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CALIBRATION_TEXTS_H_
