// Calibration: the float model over some texts, and what is seen of its activations.
#ifndef OCTOBERT_CONVERTER_CALIBRATE_H_
#define OCTOBERT_CONVERTER_CALIBRATE_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "converter/evaluate.h"
#include "converter/gptq.h"
#include "converter/observers.h"
#include "octobert/engine.h"

namespace octobert::converter {

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
