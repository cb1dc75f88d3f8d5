// The texts that calibration runs over: what it is given, and the samples that are taken of it.
#ifndef OCTOBERT_CONVERTER_CALIBRATION_SAMPLES_H_
#define OCTOBERT_CONVERTER_CALIBRATION_SAMPLES_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "converter/evaluate.h"
#include "octobert/engine.h"

namespace octobert::converter {

// What a file's name says about its form; everything else has a text a line. Help and messages name the same.
inline constexpr std::string_view kConllEndings[] = {".tsv", ".conll", ".bio", ".iob"};  // read_conll
inline constexpr std::string_view kJsonLinesEndings[] = {".jsonl", ".json"};             // a line: json_text
bool is_named_conll(const std::string& file);
bool is_named_json_lines(const std::string& file);

// Whether text `index` of a file is one of those held out: every `every`th, the last of each so many; 0: none is.
constexpr bool is_held_out(size_t index, size_t every) { return every > 0 && index % every == every - 1; }

// Texts to calibrate on: "builtin", or those of a file, in the form that its name says. Empty lines do not count. They
// are not kept: the file is read again for each use, so it must be a regular one.
class CalibrationTexts {
 public:
  // Reads the file once, to check and count. Throws Error(kIo); Error(kFormat) for a file without text, or whose lines
  // are not what its name says or not UTF-8, naming the line.
  explicit CalibrationTexts(const std::string& file);
  // From now on without every `every`th (is_held_out); 0: with all.
  void leave_out_held(size_t every) { held_out_every_ = every; }

  std::string name() const;  // "builtin", or the file's without its folder
  // "builtin", or the file's SHA-256: what certificate and policy say.
  const std::string& source() const { return source_; }
  bool by_words() const { return by_words_; }  // a text is a list of words; else one "word"
  size_t size() const { return held_out_every_ == 0 ? count_ : count_ - count_ / held_out_every_; }
  // use(0, text) to use(size() - 1, text). Throws Error(kIo) if the file is not what it was, which it knows at the end.
  void for_each(const std::function<void(size_t index, Sentence&& text)>& use) const;

 private:
  const std::string file_;
  const bool by_words_;
  std::string source_;
  size_t count_ = 0, held_out_every_ = 0;
};

// `samples` of them, evenly over the file; every 16th is made of texts that follow one another, joined to 1/8, 1/4, 1/2
// and all of the model's window in turn, so that every length and position is seen. Cut to one window each. Memory does
// not grow with the file. Throws what for_each() throws; Error(kInvalidInput) for fewer than 64 tokens. Adds a warning
// if there are fewer texts than samples.
EncodedTexts encode_samples(const Engine& model, const CalibrationTexts& texts, size_t samples,
                            std::vector<std::string>& warnings);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CALIBRATION_SAMPLES_H_
