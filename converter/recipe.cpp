#include "converter/recipe.h"

#include <algorithm>
#include <cmath>

#include "converter/smooth.h"
#include "kernels/layout.h"

namespace octobert::converter {
namespace {

std::vector<float> absmax_of(const SiteStatistics& site, int begin, int end) {
  std::vector<float> result;
  for (int channel = begin; channel < end; ++channel) result.push_back(site.absmax(channel));
  return result;
}

bool is_silent(const SiteStatistics& site) {
  for (int channel = 0; channel < site.columns(); ++channel) {
    if (site.absmax(channel) > 0) return false;
  }
  return true;
}

// w's rows [first, first + s.size()) and their biases times s (or divided).
void scale_rows(LinearFloats& linear, size_t first, std::span<const float> s, bool divide) {
  const auto k = static_cast<size_t>(linear.k);
  for (size_t i = 0; i < s.size(); ++i) {
    const float f = divide ? 1.0f / s[i] : s[i];
    for (size_t c = 0; c < k; ++c) linear.weight[(first + i) * k + c] *= f;
    linear.bias[first + i] *= f;
  }
  linear.given = {};  // what the checkpoint quantized were other weights
}

void scale_columns(LinearFloats& linear, std::span<const float> s) {
  for (size_t i = 0; i < linear.weight.size(); ++i) linear.weight[i] *= s[i % s.size()];
  linear.given = {};
}

StaticInput static_input(const QuantizedRange& range, std::span<const float> smooth, size_t k) {
  StaticInput input;
  input.zero = range.zero_point;
  input.scale.resize(k);
  input.inv.resize(padded_outputs(k));
  for (size_t c = 0; c < k; ++c) {
    input.scale[c] = static_cast<float>(range.step * (smooth.empty() ? 1.0 : double{smooth[c]}));
    input.inv[c] = 1.0f / input.scale[c];
  }
  return input;
}

// input_scale: [k], what calibration's inputs are divided by before they are this product's (its fold into the
// product before); empty: nothing.
ProductRecipe product_recipe(Executor& executor, const Site& site, const CalibrationSettings& settings, bool symmetric,
                             const std::string& name, std::span<const float> input_scale, std::vector<float> smooth) {
  ProductRecipe recipe;
  recipe.smooth = std::move(smooth);
  const auto k = static_cast<size_t>(site.statistics.columns());
  const std::span<const float> scale = recipe.smooth.empty() ? input_scale : std::span<const float>(recipe.smooth);
  const Range range = observe(site.statistics, 0, site.statistics.columns(), scale, settings.observer, symmetric);
  recipe.static_inputs = {static_input(quantize_range(range, name), recipe.smooth, k)};
  // Of inputs that are always 0 no error says anything: weights are rounded to the nearest then.
  const bool by_error = site.hessian && settings.gptq && !is_silent(site.statistics);
  for (size_t c = 0; c < k && settings.bias_correction; ++c) {
    const auto channel = static_cast<int>(c);
    recipe.input_mean.push_back((by_error ? site.hessian->mean(channel) : site.statistics.mean(channel)) /
                                (input_scale.empty() ? 1.0 : double{input_scale[c]}));
  }
  if (by_error) {
    recipe.form = error_form(*site.hessian, scale, settings.bias_correction);
    recipe.inverse = inverse_factor(executor, *recipe.form);
  }
  return recipe;
}

// Of the inputs of a product; empty: none.
std::vector<float> smooth_scales(const Site& site, const CalibrationSettings& settings, bool symmetric,
                                 const LinearFloats& floats) {
  // What GPTQ leaves of rounding's squared error at a product's outputs: a tenth to a third in the bundled model.
  constexpr double kGptqShare = 0.2;
  if (settings.smooth_quant == 0.0) return {};
  const SiteStatistics& statistics = site.statistics;
  SmoothingInput input{.absmax = absmax_of(statistics, 0, statistics.columns()), .range = {}, .mean_square = {}};
  for (int c = 0; c < statistics.columns(); ++c) {
    input.range.push_back(symmetric ? 2 * double{statistics.absmax(c)}
                                    : double{statistics.max(c)} - double{statistics.min(c)});
    input.mean_square.push_back(statistics.mean_square(c));
  }
  const double alpha = settings.smooth_quant
                           ? *settings.smooth_quant
                           : best_smoothing(input, floats.weight, site.hessian && settings.gptq ? kGptqShare : 1.0);
  return smoothing_scales(input.absmax, column_absmax(floats.weight, static_cast<size_t>(floats.k)), alpha);
}

// What qkv's outputs are divided by, in place in the weights: [3 D].
std::vector<float> scale_attention(const LayerCalibration& calibration, const CalibrationSettings& settings,
                                   LayerFloats& floats) {
  const int d = floats.attention_output.k;
  const auto size = static_cast<size_t>(d);
  std::vector<float> divided(3 * size, 1.0f);
  if (settings.equalize) {
    const std::vector<float> s =
        equalizing_scales(absmax_of(calibration.qkv.statistics, 0, d), absmax_of(calibration.qkv.statistics, d, 2 * d));
    scale_rows(floats.qkv, 0, s, true);
    scale_rows(floats.qkv, size, s, false);
    for (size_t c = 0; c < size; ++c) {
      divided[c] = s[c];
      divided[size + c] = 1.0f / s[c];
    }
  }
  std::vector<float> s = smooth_scales(calibration.context, settings, true, floats.attention_output);
  if (s.empty() && settings.equalize) {
    s = equalizing_scales(absmax_of(calibration.context.statistics, 0, d),
                          column_absmax(floats.attention_output.weight, size));
  }
  if (!s.empty()) {
    scale_rows(floats.qkv, 2 * size, s, true);
    scale_columns(floats.attention_output, s);
    std::copy(s.begin(), s.end(), divided.begin() + static_cast<ptrdiff_t>(2 * size));
  }
  return divided;
}

// Q and K with a step a head, V with a step a column; of what qkv gives divided by `divided`.
void fix_attention(const SiteStatistics& qkv, const CalibrationSettings& settings, uint32_t head_count,
                   std::span<const float> divided, const std::string& layer_name, LayerRecipe& recipe) {
  const int d = qkv.columns() / 3, heads = static_cast<int>(head_count), head_dim = d / heads;
  recipe.qkv_output_inv.assign(padded_outputs(static_cast<size_t>(3 * d)), 0.0f);
  recipe.value_scale.resize(static_cast<size_t>(d));
  const auto step = [&](int begin, int end, const char* what) {
    const std::string name = layer_name + ".qkv (" + what + ")";
    return quantize_range(observe(qkv, begin, end, divided, settings.observer, true), name).step;
  };
  for (int head = 0; head < heads; ++head) {
    float factor = 1;
    for (int part = 0; part < 2; ++part) {
      const int begin = part * d + head * head_dim;
      const auto scale = static_cast<float>(step(begin, begin + head_dim, part == 0 ? "query" : "key"));
      std::fill_n(recipe.qkv_output_inv.begin() + begin, head_dim, 1.0f / scale);
      factor *= scale;
    }
    recipe.scores_factor.push_back(factor);
  }
  for (int c = 0; c < d; ++c) {
    const auto scale = static_cast<float>(step(2 * d + c, 2 * d + c + 1, "value"));
    recipe.value_scale[static_cast<size_t>(c)] = scale;
    recipe.qkv_output_inv[static_cast<size_t>(2 * d + c)] = 1.0f / scale;
  }
}

}  // namespace

ProductRecipe make_product_recipe(Executor& executor, const Site& input, const CalibrationSettings& settings,
                                  bool symmetric, const std::string& input_name, const LinearFloats& floats) {
  return product_recipe(executor, input, settings, symmetric, input_name, {},
                        smooth_scales(input, settings, symmetric, floats));
}

LayerRecipe make_layer_recipe(Executor& executor, const LayerCalibration& calibration,
                              const CalibrationSettings& settings, uint32_t head_count, const std::string& layer_name,
                              LayerFloats& floats) {
  LayerRecipe recipe;
  const std::vector<float> divided = scale_attention(calibration, settings, floats);
  const auto product = [&](const Site& site, const char* name, const LinearFloats& linear, bool symmetric = true) {
    return make_product_recipe(executor, site, settings, symmetric, layer_name + "." + name, linear);
  };
  recipe.qkv = product(calibration.qkv_input, "qkv's input", floats.qkv);
  recipe.ffn1 = product(calibration.attention_norm, "attention_norm", floats.ffn1);
  // GELU's outputs begin at -0.17: a zero point makes use of the half of the levels that would stay empty.
  recipe.ffn2 = product(calibration.ffn1, "ffn1", floats.ffn2, false);
  // The rows' maxima come from the first product's kernel, of values that are not divided.
  recipe.ffn2.smooth_dynamic = false;
  const std::span<const float> values = std::span(divided).subspan(2 * divided.size() / 3);
  recipe.attention_output =
      product_recipe(executor, calibration.context, settings, true, layer_name + ".context", values, {});
  fix_attention(calibration.qkv.statistics, settings, head_count, divided, layer_name, recipe);
  return recipe;
}

}  // namespace octobert::converter
