#include "converter/tune_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/engine_access.h"
#include "engine/fp_guard.h"

namespace octobert::converter {
namespace {

using format::Scheme;

bool same(const LayerPlan& a, const LayerPlan& b) {
  return a.qkv == b.qkv && a.attention == b.attention && a.attention_output == b.attention_output && a.ffn1 == b.ffn1 &&
         a.ffn2 == b.ffn2;
}

// What packing needs and running does not: the larger part of a model's memory.
void drop_weights(LayerFloats& floats, LayerRecipe& recipe) {
  for (LinearFloats* linear : {&floats.qkv, &floats.attention_output, &floats.ffn1, &floats.ffn2}) *linear = {};
  for (ProductRecipe* product : {&recipe.qkv, &recipe.attention_output, &recipe.ffn1, &recipe.ffn2}) {
    product->form.reset();
    product->inverse.reset();
  }
}

size_t place_of(Scheme scheme) {
  return static_cast<size_t>(std::find(kTuneSchemes.begin(), kTuneSchemes.end(), scheme) - kTuneSchemes.begin());
}

std::vector<PackedLinear> pack_classifier(const Checkpoint& checkpoint, Executor& executor,
                                          const Calibration& calibration, const CalibrationSettings& settings) {
  const LinearFloats floats = read_classifier(checkpoint);
  const ProductRecipe recipe =
      make_product_recipe(executor, *calibration.classifier_input, settings, true, "classifier's input", floats);
  std::vector<PackedLinear> forms;
  for (const Scheme scheme : kTuneSchemes) forms.push_back(pack_linear(executor, scheme, 0, floats, &recipe));
  return forms;
}

}  // namespace

TuneModel::TuneModel(const Checkpoint& checkpoint, const Engine& reference, const Calibration& calibration,
                     const CalibrationSettings& settings, const std::function<void(size_t, size_t)>& progress)
    : reference_(reference),
      config_(checkpoint.config()),
      embeddings_(EngineAccess::executor(reference), checkpoint, true),
      classifiers_(pack_classifier(checkpoint, EngineAccess::executor(reference), calibration, settings)) {
  for (uint32_t index = 0; index < config_.layer_count; ++index) {
    if (progress) progress(index, config_.layer_count);
    layers_.push_back(make_layer(checkpoint, index, calibration, settings));
  }
}

std::unique_ptr<TuneModel::Layer> TuneModel::make_layer(const Checkpoint& checkpoint, uint32_t index,
                                                        const Calibration& calibration,
                                                        const CalibrationSettings& settings) const {
  Executor& executor = EngineAccess::executor(reference_);
  auto layer = std::make_unique<Layer>();
  layer->floats.read(checkpoint, index);
  layer->recipe = make_layer_recipe(executor, calibration.layers[index], settings, config_.head_count,
                                    fmt::format("layer.{}", index), layer->floats);
  for (const Scheme scheme : kTuneSchemes) {
    const Scheme attention = scheme == Scheme::kWeightOnly ? Scheme::kFloat : scheme;
    layer->forms.emplace_back(executor, LayerPlan{scheme, attention, scheme, scheme, scheme}, layer->floats,
                              &layer->recipe);
  }
  drop_weights(layer->floats, layer->recipe);
  return layer;
}

EncoderLayer TuneModel::layer(size_t index, const LayerPlan& plan) const {
  const auto form = [&](Scheme scheme) -> const EncoderLayer& {
    return layers_[index]->forms.at(place_of(scheme)).view();
  };
  EncoderLayer layer = form(plan.attention);  // with its scales; the norms are the same in all
  layer.qkv = form(plan.qkv).qkv;
  layer.attention_output = form(plan.attention_output).attention_output;
  layer.ffn1 = form(plan.ffn1).ffn1;
  layer.ffn2 = form(plan.ffn2).ffn2;
  return layer;
}

const Linear& TuneModel::classifier(Scheme scheme) const { return classifiers_.at(place_of(scheme)).view(); }

RunContext TuneModel::run() const {
  RunContext run;
  run.kernels = &EngineAccess::kernels(reference_);
  run.executor = &EngineAccess::executor(reference_);
  return run;
}

TuneTexts::Products::Products(const TuneModel& model, const Plan& plan)
    : classifier(model.classifier(plan.classifier)) {
  for (size_t i = 0; i < plan.layers.size(); ++i) layers.push_back(model.layer(i, plan.layers[i]));
}

TuneTexts::TuneTexts(const TuneModel& model, EncodedTexts encoded, std::vector<Sentence> sentences)
    : model_(model), encoded_(std::move(encoded)), sentences_(std::move(sentences)) {
  const size_t most = static_cast<size_t>(token_budget(model.run().executor->concurrency()));
  const std::vector<int32_t>& offsets = encoded_.offsets;
  for (size_t begin = 0; begin + 1 < offsets.size();) {
    size_t end = begin + 1;
    while (end + 1 < offsets.size() && static_cast<size_t>(offsets[end + 1] - offsets[begin]) <= most) ++end;
    Batch& batch = batches_.emplace_back();
    batch.first = static_cast<size_t>(offsets[begin]);
    batch.count = static_cast<size_t>(offsets[end] - offsets[begin]);
    for (size_t i = begin; i <= end; ++i) batch.offsets.push_back(offsets[i] - offsets[begin]);
    begin = end;
  }
  reference_.resize(tokens() * model.config().label_count);
  BertState state;
  EngineAccess::logits(model.reference(), {encoded_.ids, {}, encoded_.offsets}, reference_, state, {});
}

EntityScores TuneTexts::reference_scores() const {
  return compare_logits(encoded_, sentences_, model_.reference().labels(), reference_, reference_).reference;
}

Comparison TuneTexts::evaluate(const Plan& plan) {
  const std::vector<float> logits = run(plan, nullptr);
  if (std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); })) {
    return compare_logits(encoded_, sentences_, model_.reference().labels(), reference_, logits);
  }
  Comparison broken = compare_logits(encoded_, sentences_, model_.reference().labels(), reference_, reference_);
  broken.same_label = 0;
  broken.divergence = std::numeric_limits<double>::infinity();
  broken.entities.correct = 0;
  broken.model = {};
  broken.paired.lost += std::exchange(broken.paired.both, 0);
  return broken;
}

void TuneTexts::keep(const Plan& plan) {
  Trajectory trajectory{plan, {}};
  const size_t hidden = model_.config().hidden_size;
  trajectory.inputs.assign(model_.config().layer_count, std::vector<float>(tokens() * hidden));
  run(plan, &trajectory);
  kept_.push_back(std::move(trajectory));
}

// How many layers at the front a plan has in common with one that was kept.
size_t TuneTexts::shared_layers(const Plan& plan, const Trajectory*& best) const {
  size_t most = 0;
  best = nullptr;
  for (const Trajectory& trajectory : kept_) {
    size_t shared = 0;
    while (shared + 1 < plan.layers.size() && same(plan.layers[shared], trajectory.plan.layers[shared])) ++shared;
    if (shared < most || (shared == most && best != nullptr)) continue;
    most = shared;
    best = &trajectory;
  }
  return most;
}

std::vector<float> TuneTexts::run(const Plan& plan, Trajectory* recorded) {
  const FpGuard guard;
  const Trajectory* known = nullptr;
  const size_t from = recorded ? 0 : shared_layers(plan, known);
  const Products products(model_, plan);
  const size_t labels = model_.config().label_count;
  std::vector<float> logits(tokens() * labels);
  for (const Batch& batch : batches_) {
    run_batch(products, batch, known, from, recorded,
              std::span(logits).subspan(batch.first * labels, batch.count * labels));
  }
  return logits;
}

void TuneTexts::run_batch(const Products& products, const Batch& batch, const Trajectory* known, size_t from,
                          Trajectory* recorded, std::span<float> logits) {
  const RunContext run = model_.run();
  const format::ModelConfig& config = model_.config();
  const size_t hidden = config.hidden_size;
  const PackedBatch packed{std::span(encoded_.ids).subspan(batch.first, batch.count), {}, batch.offsets};
  if (known == nullptr) {
    embed(run, config, model_.embeddings(), packed, state_);
  } else {
    state_.prepare(config, packed, std::max(1, run.executor->concurrency()), false);
    const float* inputs = known->inputs[from].data() + batch.first * hidden;
    for (size_t m = 0; m < batch.count; ++m) {
      std::copy_n(inputs + m * hidden, hidden, state_.hidden.from(static_cast<int>(m)).data);
    }
  }
  const std::vector<EncoderLayer>& layers = products.layers;
  for (size_t i = from; i < layers.size(); ++i) {
    if (recorded) {
      float* inputs = recorded->inputs[i].data() + batch.first * hidden;
      for (size_t m = 0; m < batch.count; ++m) {
        std::copy_n(state_.hidden.from(static_cast<int>(m)).data, hidden, inputs + m * hidden);
      }
    }
    const Linear& next = i + 1 < layers.size() ? layers[i + 1].qkv : products.classifier;
    encoder_layer(run, config, layers[i], static_cast<int>(i), NextProduct::of(next), state_);
  }
  classify(run, config, products.classifier, logits, state_);
}

TuneTexts::Batch TuneTexts::first_batch(size_t max_tokens) const {
  Batch batch{0, 0, {0}};
  for (size_t i = 1; i < encoded_.offsets.size() && (i == 1 || static_cast<size_t>(encoded_.offsets[i]) <= max_tokens);
       ++i) {
    batch.offsets.push_back(encoded_.offsets[i]);
  }
  batch.count = static_cast<size_t>(batch.offsets.back());
  return batch;
}

size_t TuneTexts::timed_tokens(size_t max_tokens) const { return first_batch(max_tokens).count; }

std::vector<double> TuneTexts::time(std::span<const Plan> plans, size_t max_tokens, size_t rounds) {
  const FpGuard guard;
  std::vector<Products> products;
  for (const Plan& plan : plans) products.emplace_back(model_, plan);
  const Batch batch = first_batch(max_tokens);
  std::vector<float> logits(batch.count * model_.config().label_count);
  std::vector<double> least(plans.size(), std::numeric_limits<double>::infinity());
  for (size_t round = 0; round <= rounds; ++round) {  // the first warms up
    for (size_t p = 0; p < plans.size(); ++p) {
      const auto begin = std::chrono::steady_clock::now();
      run_batch(products[p], batch, nullptr, 0, nullptr, logits);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (round > 0) least[p] = std::min(least[p], seconds);
    }
  }
  return least;
}

}  // namespace octobert::converter
