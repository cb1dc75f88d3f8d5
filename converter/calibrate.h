// Calibration: the float model over some texts, and what is seen of its activations.
#ifndef OCTOBERT_CONVERTER_CALIBRATE_H_
#define OCTOBERT_CONVERTER_CALIBRATE_H_

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "converter/evaluate.h"
#include "converter/gptq.h"
#include "converter/observers.h"
#include "octobert/engine.h"

namespace octobert::converter {

// Texts to calibrate on, each a list of words or (one "word") a text.
struct CalibrationTexts {
  std::string source;  // "builtin", or the file's SHA-256: what certificate and policy say
  bool by_words = false;
  std::vector<Sentence> texts;
  std::vector<std::string> warnings;
};

// What a file's name says about its form; everything else has a text a line. Help and messages name the same.
inline constexpr std::string_view kConllEndings[] = {".tsv", ".conll", ".bio", ".iob"};  // read_conll
inline constexpr std::string_view kJsonLinesEndings[] = {".jsonl", ".json"};  // a line: an object with "text", a string
bool is_named_conll(const std::string& file);
bool is_named_json_lines(const std::string& file);

// "builtin", or a file, in the form that its name says. Empty lines do not count.
// Throws Error(kIo); Error(kFormat) for a file without text, or that is not UTF-8, naming the line.
CalibrationTexts read_calibration_texts(const std::string& file);

// Whether text `index` of a file is one of those held out: every `every`th, the last of each so many; 0: none is.
constexpr bool is_held_out(size_t index, size_t every) { return every > 0 && index % every == every - 1; }
// Removes the texts that are held out.
void leave_out_held(CalibrationTexts& texts, size_t every);

// `samples` of them, evenly over the file; every 16th is made of texts that follow one another, joined to 1/8, 1/4, 1/2
// and all of the model's window in turn, so that every length and position is seen. Cut to one window each.
// Throws Error(kInvalidInput) for fewer than 64 tokens; adds a warning if there are fewer texts than samples.
EncodedTexts encode_samples(const Engine& model, CalibrationTexts& texts, size_t samples);

// Of one intermediate result: what it looks like and, if a product with weights reads it, its Hessian (for GPTQ).
struct Site {
  SiteStatistics statistics;
  std::optional<Hessian> hessian;
};

struct LayerCalibration {
  Site qkv_input;       // the embeddings, or the layer before
  Site qkv;             // [3 D]: what query, key and value give
  Site context;         // read by attention_output
  Site attention_norm;  // read by ffn1
  Site ffn1;            // after the activation; read by ffn2
};

struct Calibration {
  std::string source;
  size_t texts = 0, tokens = 0, longest = 0;  // longest: tokens of the longest text
  std::vector<LayerCalibration> layers;
  std::optional<Site> classifier_input;
};

// One pass over the texts. What Hessians are made of waits, batch by batch, until the batch's logits say what each
// token weighs (token_weights). The result depends on the model and the texts alone, not on threads or instruction set.
// Memory does not grow with the texts. progress is told how many tokens of how many are done. Throws Error(kNumeric) if
// the model gives a value that is not finite.
Calibration calibrate(const Engine& float_model, const EncodedTexts& texts, bool with_hessians,
                      const std::function<void(size_t done, size_t total)>& progress = {});

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CALIBRATE_H_
