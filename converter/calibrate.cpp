#include "converter/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "engine/engine_access.h"

namespace octobert::converter {
namespace {

// Which statistics an intermediate result goes to.
using Places = std::unordered_map<std::string, Site*>;

Site make_site(const KernelTable& kernels, int columns, bool with_hessian) {
  Site site{SiteStatistics(columns), {}};
  if (with_hessian) site.hessian.emplace(kernels, columns);
  return site;
}

Places prepare(const Engine& model, bool with_hessians, Calibration& calibration) {
  const ModelInfo& info = model.info();
  const auto site = [&](int columns, bool read_by_product) {
    return make_site(EngineAccess::kernels(model), columns, with_hessians && read_by_product);
  };
  const int d = info.hidden_size;
  Places places;
  for (int l = 0; l < info.layer_count; ++l) {
    calibration.layers.push_back(
        {site(d, true), site(3 * d, false), site(d, true), site(d, true), site(info.intermediate_size, true)});
  }
  calibration.classifier_input.emplace(site(d, true));
  for (int l = 0; l < info.layer_count; ++l) {
    LayerCalibration& layer = calibration.layers[static_cast<size_t>(l)];
    const auto name = [l](const char* part) { return fmt::format("layer.{}.{}", l, part); };
    places.emplace(l == 0 ? "embeddings" : fmt::format("layer.{}.ffn_norm", l - 1), &layer.qkv_input);
    places.emplace(name("qkv"), &layer.qkv);
    places.emplace(name("context"), &layer.context);
    places.emplace(name("attention_norm"), &layer.attention_norm);
    places.emplace(name("ffn1"), &layer.ffn1);
  }
  places.emplace(info.layer_count == 0 ? "embeddings" : fmt::format("layer.{}.ffn_norm", info.layer_count - 1),
                 &*calibration.classifier_input);
  return places;
}

// An intermediate result, kept until the logits say what each of its rows counts.
struct KeptRows {
  std::vector<float> data;  // [rows][stride]
  size_t stride = 0;

  void assign(const Intermediate& result, size_t rows) {
    stride = result.stride;
    data.assign(result.data, result.data + rows * stride);
  }
};

// How much an error at each token counts: 1 - sum over labels of p^2, the trace of diag(p) - p p^T, and some more. An
// error d of a token's logits makes a divergence of its labels of d^T (diag(p) - p p^T) d / 2, but for terms of third
// order (the Fisher information: Martens 2014, arXiv:1412.1193), so a token whose label is certain bears more. What is
// added is for the tokens that read it. (Hessians of tokens that count differently: Sung et al. 2025,
// arXiv:2503.01820.) logits: [tokens][labels], which become probabilities; [tokens].
std::vector<float> token_weights(const KernelTable& kernels, std::span<float> logits, size_t labels) {
  // 0.005, 0.02 and 0.1 do equally well on sentences of the bundled model's training set that it is not calibrated on.
  constexpr float kLeastWeight = 0.1f;
  const size_t tokens = logits.size() / labels;
  kernels.softmax({logits.data(), labels, logits.data(), labels, static_cast<int>(tokens), static_cast<int>(labels)});
  std::vector<float> weight(tokens);
  for (size_t t = 0; t < tokens; ++t) {
    float uncertain = 1;
    for (size_t c = 0; c < labels; ++c) uncertain -= logits[t * labels + c] * logits[t * labels + c];
    weight[t] = std::max(uncertain, 0.0f) + kLeastWeight;
  }
  return weight;
}

}  // namespace

Calibration calibrate(const Engine& float_model, const EncodedTexts& texts, bool with_hessians,
                      const std::function<void(size_t done, size_t total)>& progress) {
  constexpr size_t kTokensAtOnce = 512;  // an observed batch is not split: its size is the memory that it takes
  Calibration calibration;
  const Places places = prepare(float_model, with_hessians, calibration);
  Executor& executor = EngineAccess::executor(float_model);
  std::vector<int32_t> offsets;
  std::unordered_map<Site*, KeptRows> kept;
  Hessian::Scratch scratch;
  const Observer observer = [&](const Intermediate& result) {
    const auto place = places.find(std::string(result.name));
    if (place == places.end()) return;
    Site& site = *place->second;
    site.statistics.add(executor, result.data, result.stride, offsets);
    if (site.hessian) kept[&site].assign(result, static_cast<size_t>(offsets.back()));
  };
  RunContext run;
  run.observer = &observer;
  BertState state;
  std::vector<float> logits;
  const auto labels = static_cast<size_t>(float_model.info().label_count);
  const std::span<const int32_t> all = texts.offsets;
  for (size_t begin = 0; begin + 1 < all.size();) {
    size_t end = begin + 1;
    while (end + 1 < all.size() && static_cast<size_t>(all[end + 1] - all[begin]) <= kTokensAtOnce) ++end;
    offsets.clear();
    for (size_t i = begin; i <= end; ++i) offsets.push_back(all[i] - all[begin]);
    const auto count = static_cast<size_t>(offsets.back());
    logits.resize(count * labels);
    const auto ids = std::span(texts.ids).subspan(static_cast<size_t>(all[begin]), count);
    EngineAccess::logits(float_model, {ids, {}, offsets}, logits, state, run);
    if (with_hessians) {
      const std::vector<float> weight = token_weights(EngineAccess::kernels(float_model), logits, labels);
      for (const auto& [site, rows] : kept)
        site->hessian->add(executor, rows.data.data(), weight, rows.stride, scratch);
    }
    for (size_t i = begin; i < end; ++i) {
      calibration.longest = std::max(calibration.longest, static_cast<size_t>(all[i + 1] - all[i]));
    }
    begin = end;
    if (progress) progress(static_cast<size_t>(all[end]), texts.ids.size());
  }
  calibration.texts = all.size() - 1;
  calibration.tokens = texts.ids.size();
  return calibration;
}

}  // namespace octobert::converter
