// From what calibration has seen to what is done to a layer: the scales of its channels, the fixed ranges of its
// inputs, how its weights are rounded. A function of calibration, settings and weights alone, product by product: any
// scheme can then be chosen for each product without a change to the others.
#ifndef OCTOBERT_CONVERTER_RECIPE_H_
#define OCTOBERT_CONVERTER_RECIPE_H_

#include <optional>
#include <vector>

#include "converter/calibrate.h"
#include "converter/model_parts.h"
#include "converter/quantize.h"
#include "converter/settings.h"

namespace octobert::converter {

// What PackedLinear wants to know of a product beside its scheme (quantize.h, PackSpec).
struct ProductRecipe {
  std::vector<float> smooth;               // [k]: inputs are divided by it, weights multiplied; empty: 1
  bool smooth_dynamic = true;              // whether that is worth its time where scales are found at run time
  std::vector<StaticInput> static_inputs;  // `smooth` included: one, or one for each of query, key and value
  std::optional<ErrorForm> form;           // of the inputs divided by `smooth`
  std::optional<InverseFactor> inverse;    // its
  std::vector<double> input_mean;  // [k], of the inputs themselves, weighted as `form`; empty: no bias correction
};

struct LayerRecipe {
  ProductRecipe qkv, attention_output, ffn1, ffn2;
  // Attention with everything fixed (engine/model.h, EncoderLayer).
  std::vector<float> qkv_output_inv, scores_factor, value_scale;
};

// First makes `floats` ready: channels of Q against K, and of V against attention_output, are scaled (equalization,
// SmoothQuant), which leaves the layer's function as it is. Throws Error(kNumeric) naming the layer's part for
// statistics that no range follows from.
LayerRecipe make_layer_recipe(Executor& executor, const LayerCalibration& calibration,
                              const CalibrationSettings& settings, uint32_t head_count, const std::string& layer_name,
                              LayerFloats& floats);

// Of a product by itself: the classifier.
ProductRecipe make_product_recipe(Executor& executor, const Site& input, const CalibrationSettings& settings,
                                  bool symmetric, const std::string& input_name, const LinearFloats& floats);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_RECIPE_H_
