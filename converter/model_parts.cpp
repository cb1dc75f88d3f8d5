#include "converter/model_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "converter/recipe.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

void read_vector(const Checkpoint& checkpoint, const std::string& name, size_t size, std::vector<float>& dst) {
  dst.resize(size);
  checkpoint.read(name, dst);
}

void read_norm(const Checkpoint& checkpoint, const std::string& name, NormFloats& norm) {
  const size_t hidden = checkpoint.config().hidden_size;
  read_vector(checkpoint, name + ".gamma", hidden, norm.gamma);
  read_vector(checkpoint, name + ".beta", hidden, norm.beta);
}

// What the inputs of a product's matrices are multiplied with: once if it is the same for all.
void read_input_inv(const Checkpoint& checkpoint, std::span<const std::string> names, size_t columns,
                    GivenInt8& given) {
  std::vector<std::vector<float>> parts;
  for (const std::string& name : names) {
    parts.push_back(checkpoint.quantization().pre_quant_scale(name, columns));
  }
  if (std::all_of(parts.begin(), parts.end(), [&](const auto& part) { return part == parts.front(); })) parts.resize(1);
  given.input_parts = parts.size();
  for (std::vector<float>& part : parts) {
    if (part.empty() && parts.size() > 1) part.assign(columns, 1.0f);
    if (!part.empty()) part.resize(padded_outputs(columns));
    given.input_inv.insert(given.input_inv.end(), part.begin(), part.end());
  }
}

// The int8 weights of a product whose matrices all have some of the checkpoint's own.
void read_given(const Checkpoint& checkpoint, std::span<const std::string> names, size_t rows, size_t columns,
                LinearFloats& linear) {
  linear.given = {};
  linear.minus_128_replaced = 0;
  const bool usable =
      std::all_of(names.begin(), names.end(), [&](const std::string& name) { return checkpoint.has_int8(name); });
  if (!usable) return;
  read_input_inv(checkpoint, names, columns, linear.given);
  linear.given.q.resize(names.size() * rows * columns);
  linear.given.scale.resize(names.size() * rows);
  for (size_t i = 0; i < names.size(); ++i) {
    linear.minus_128_replaced +=
        checkpoint.read_int8(names[i], std::span(linear.given.q).subspan(i * rows * columns, rows * columns),
                             std::span(linear.given.scale).subspan(i * rows, rows));
  }
}

// The rows of several matrices of `rows` outputs each, one below the other.
void read_linear(const Checkpoint& checkpoint, std::span<const std::string> names, size_t rows, size_t columns,
                 LinearFloats& linear) {
  linear.n = static_cast<int>(names.size() * rows);
  linear.k = static_cast<int>(columns);
  linear.weight.resize(names.size() * rows * columns);
  linear.bias.resize(names.size() * rows);
  for (size_t i = 0; i < names.size(); ++i) {
    checkpoint.read(names[i] + ".weight", std::span(linear.weight).subspan(i * rows * columns, rows * columns));
    checkpoint.read(names[i] + ".bias", std::span(linear.bias).subspan(i * rows, rows));
  }
  read_given(checkpoint, names, rows, columns, linear);
}

// One product for each quantization of the input, put together.
PackedLinear pack_parts(Executor& executor, const LinearFloats& floats, const ProductRecipe& recipe) {
  const size_t count = recipe.static_inputs.size();
  std::vector<PackedLinear> parts;
  for (size_t i = 0; i < count; ++i) {
    ProductRecipe part = recipe;
    part.static_inputs = {recipe.static_inputs[i]};
    parts.push_back(pack_linear(executor, format::Scheme::kStatic, 0, floats.part(i, count), &part));
  }
  return PackedLinear(parts);
}

}  // namespace

LinearFloats LinearFloats::part(size_t index, size_t count) const {
  const size_t rows = bias.size() / count, weights = weight.size() / count;
  const auto share = [index](const std::vector<float>& all, size_t size) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index * size);
    return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  return {static_cast<int>(rows), k, share(weight, weights), share(bias, rows), given.part(index, count), 0};
}

void LayerFloats::read(const Checkpoint& checkpoint, uint32_t index) {
  const size_t hidden = checkpoint.config().hidden_size, inner = checkpoint.config().intermediate_size;
  const auto name = [index](const char* part) { return fmt::format("layer.{}.{}", index, part); };
  const std::string query_key_value[] = {name("query"), name("key"), name("value")};
  const std::string output[] = {name("attention_output")}, first[] = {name("ffn1")}, second[] = {name("ffn2")};
  read_linear(checkpoint, query_key_value, hidden, hidden, qkv);
  read_linear(checkpoint, output, hidden, hidden, attention_output);
  read_linear(checkpoint, first, inner, hidden, ffn1);
  read_linear(checkpoint, second, hidden, inner, ffn2);
  read_norm(checkpoint, name("attention_norm"), attention_norm);
  read_norm(checkpoint, name("ffn_norm"), ffn_norm);
}

PackedLinear pack_linear(Executor& executor, format::Scheme scheme, int group_size, const LinearFloats& floats,
                         const ProductRecipe* recipe) {
  if (recipe == nullptr && scheme == format::Scheme::kStatic) {
    throw Error(ErrorCode::kInvalidInput, "a static product needs calibration");
  }
  if (scheme == format::Scheme::kStatic && recipe->static_inputs.size() > 1) {
    return pack_parts(executor, floats, *recipe);
  }
  PackSpec spec{.scheme = scheme, .group_size = group_size, .given = &floats.given};
  if (recipe != nullptr) {
    spec.static_input = recipe->static_inputs.empty() ? nullptr : &recipe->static_inputs.front();
    spec.smooth = recipe->smooth;
    spec.smooth_dynamic = recipe->smooth_dynamic;
    spec.inverse = recipe->inverse ? &*recipe->inverse : nullptr;
    spec.form = recipe->form ? &*recipe->form : nullptr;
    spec.input_mean = recipe->input_mean;
  }
  return {executor, spec, floats.weight, floats.bias, floats.n, floats.k};
}

PackedLayer::PackedLayer(Executor& executor, const LayerPlan& plan, const LayerFloats& floats,
                         const LayerRecipe* recipe)
    : qkv_(pack_linear(executor, plan.qkv, plan.group_size, floats.qkv, recipe ? &recipe->qkv : nullptr)),
      attention_output_(pack_linear(executor, plan.attention_output, plan.group_size, floats.attention_output,
                                    recipe ? &recipe->attention_output : nullptr)),
      ffn1_(pack_linear(executor, plan.ffn1, plan.group_size, floats.ffn1, recipe ? &recipe->ffn1 : nullptr)),
      ffn2_(pack_linear(executor, plan.ffn2, plan.group_size, floats.ffn2, recipe ? &recipe->ffn2 : nullptr)),
      view_{.qkv = qkv_.view(),
            .attention = plan.attention,
            .attention_output = attention_output_.view(),
            .attention_norm = floats.attention_norm.view(),
            .ffn1 = ffn1_.view(),
            .ffn2 = ffn2_.view(),
            .ffn_norm = floats.ffn_norm.view()} {
  if (plan.attention != format::Scheme::kStatic) return;
  if (recipe == nullptr) throw Error(ErrorCode::kInvalidInput, "static attention needs calibration");
  view_.qkv_output_inv = recipe->qkv_output_inv.data();
  view_.scores_factor = recipe->scores_factor.data();
  view_.value_scale = recipe->value_scale.data();
}

EmbeddingParts::EmbeddingParts(Executor& executor, const Checkpoint& checkpoint, bool int8_words) {
  const format::ModelConfig& config = checkpoint.config();
  const size_t hidden = config.hidden_size;
  if (int8_words) {
    read_int8_words(executor, checkpoint);
  } else {
    read_vector(checkpoint, "embeddings.word", config.vocab_size * hidden, word_f32_);
    view_.word_f32 = word_f32_.data();
  }
  read_vector(checkpoint, "embeddings.position", config.max_positions * hidden, position_);
  read_vector(checkpoint, "embeddings.type", config.type_count * hidden, type_);
  read_norm(checkpoint, "embeddings.norm", norm_);
  view_.position = position_.data();
  view_.type = type_.data();
  view_.norm = norm_.view();
}

void EmbeddingParts::read_int8_words(Executor& executor, const Checkpoint& checkpoint) {
  const size_t rows = checkpoint.config().vocab_size, hidden = checkpoint.config().hidden_size;
  word_s8_.resize(rows * hidden);
  word_scale_.resize(rows);
  constexpr size_t kRowsAtATime = 2048;  // BERT-base: 6 MB, where the whole table has 94 MB
  std::vector<float> floats(std::min(rows, kRowsAtATime) * hidden);
  for (size_t first = 0; first < rows; first += kRowsAtATime) {
    const size_t count = std::min(rows - first, kRowsAtATime);
    const std::span<float> part = std::span(floats).first(count * hidden);
    checkpoint.read_rows("embeddings.word", first, count, part);
    quantize_rows(executor, part.data(), count, hidden, word_s8_.data() + first * hidden, word_scale_.data() + first);
  }
  view_.word_s8 = word_s8_.data();
  view_.word_scale = word_scale_.data();
}

Embeddings EmbeddingParts::with_float_words(const Checkpoint& checkpoint, std::span<const int32_t> ids,
                                            std::vector<float>& words) const {
  const size_t hidden = checkpoint.config().hidden_size;
  words.resize(ids.size() * hidden);
  for (size_t i = 0; i < ids.size(); ++i) {
    checkpoint.read_rows("embeddings.word", static_cast<uint64_t>(ids[i]), 1,
                         std::span(words).subspan(i * hidden, hidden));
  }
  Embeddings embeddings = view_;
  embeddings.word_s8 = nullptr;
  embeddings.word_scale = nullptr;
  embeddings.word_f32 = words.data();
  return embeddings;
}

LinearFloats read_classifier(const Checkpoint& checkpoint) {
  const std::string names[] = {"classifier"};
  LinearFloats classifier;
  read_linear(checkpoint, names, checkpoint.config().label_count, checkpoint.config().hidden_size, classifier);
  return classifier;
}

}  // namespace octobert::converter
