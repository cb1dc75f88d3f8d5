#include "tests/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "converter/tokenizer_import.h"
#include "kernels/layout.h"
#include "kernels/pack.h"

namespace octobert::test {

using format::Scheme;
using format::SectionType;

namespace {

std::span<const std::byte> bytes_of(const auto& value) { return std::as_bytes(std::span(&value, 1)); }

}  // namespace

std::string describe(const TinySpec& spec) {
  return "hidden " + std::to_string(spec.hidden) + ", layers " + std::to_string(spec.layers) + ", heads " +
         std::to_string(spec.heads) + ", intermediate " + std::to_string(spec.intermediate) + ", labels " +
         std::to_string(spec.labels) + ", " +
         (spec.products.empty() ? format::scheme_name(static_cast<uint32_t>(spec.scheme)) : "mixed") +
         (spec.smoothed ? ", smoothed" : "") + (spec.split_inputs ? ", split inputs" : "") + ", activation " +
         std::to_string(static_cast<int>(spec.activation)) + ", seed " + std::to_string(spec.seed);
}

TinyModel::TinyModel(const TinySpec& spec) : spec_(spec), random_(spec.seed) {
  model_.config = {.family = 0,
                   .hidden_size = spec.hidden,
                   .layer_count = spec.layers,
                   .head_count = spec.heads,
                   .intermediate_size = spec.intermediate,
                   .vocab_size = spec.vocab,
                   .max_positions = spec.positions,
                   .type_count = spec.types,
                   .label_count = spec.labels,
                   .activation = static_cast<uint32_t>(spec.activation),
                   .layer_norm_eps = spec.layer_norm_eps,
                   .scheme = static_cast<uint32_t>(spec.scheme),
                   .reserved = {}};
  Embeddings& embeddings = model_.embeddings;
  const size_t d = spec.hidden;
  if (spec.scheme == Scheme::kFloat) {
    embeddings.word_f32 = floats(spec.vocab * d, -1, 1);
  } else {
    auto* q = allocate<int8_t>(spec.vocab * d);
    std::generate_n(q, spec.vocab * d, [&] { return static_cast<int8_t>(uniform(-127, 127)); });
    embeddings.word_s8 = q;
    embeddings.word_scale = floats(spec.vocab, 0.5f / 127, 1.5f / 127);
  }
  embeddings.position = floats(spec.positions * d, -0.5f, 0.5f);
  embeddings.type = floats(spec.types * d, -0.5f, 0.5f);
  embeddings.norm = norm();
  for (uint32_t l = 0; l < spec.layers; ++l) {
    const size_t product = 6 * size_t{l};
    EncoderLayer layer;
    layer.qkv = linear(scheme_of(product), 3 * spec.hidden, spec.hidden);
    if (spec.split_inputs && layer.qkv.scheme == Scheme::kStatic) {
      layer.qkv.input_parts = kMaxInputParts;
      layer.qkv.input_inv = floats(3 * d, 20.0f, 45.0f);
      layer.qkv.input_zero = {-11, 0, 23};
    }
    layer.attention = scheme_of(product + 1);
    if (layer.attention == Scheme::kStatic) add_static_attention(layer);
    layer.attention_output = linear(scheme_of(product + 3), spec.hidden, spec.hidden);
    layer.attention_norm = norm();
    layer.ffn1 = linear(scheme_of(product + 4), spec.intermediate, spec.hidden);
    layer.ffn2 = linear(scheme_of(product + 5), spec.hidden, spec.intermediate);
    layer.ffn_norm = norm();
    model_.layers.push_back(layer);
  }
  model_.classifier = linear(scheme_of(6 * size_t{spec.layers}), spec.labels, spec.hidden);
}

Scheme TinyModel::scheme_of(size_t product) const {
  if (!spec_.products.empty()) return spec_.products.at(product);
  if (product == 6 * size_t{spec_.layers}) return Scheme::kFloat;
  const bool attention = product % 6 == 1 || product % 6 == 2;
  const bool integers = spec_.scheme == Scheme::kDynamic || spec_.scheme == Scheme::kStatic;
  return attention && !integers ? Scheme::kFloat : spec_.scheme;
}

float TinyModel::uniform(float low, float high) {
  // Not std::uniform_real_distribution, whose results differ between libraries.
  return low + (high - low) * static_cast<float>(random_() >> 8) * 0x1p-24f;
}

template <class T>
T* TinyModel::allocate(size_t count) {
  storage_.emplace_back(std::max<size_t>(count * sizeof(T), 1));
  return reinterpret_cast<T*>(storage_.back().data());
}

const float* TinyModel::floats(size_t count, float low, float high) {
  auto* data = allocate<float>(count);
  std::generate_n(data, count, [&] { return uniform(low, high); });
  return data;
}

LayerNormWeights TinyModel::norm() {
  const float* gamma = floats(spec_.hidden, 0.5f, 1.5f);
  return {gamma, floats(spec_.hidden, -0.3f, 0.3f)};
}

// Zero past count, up to a multiple of 16.
const float* TinyModel::padded_floats(size_t count, float low, float high) {
  auto* data = allocate<float>(padded_outputs(count));
  std::fill_n(data, padded_outputs(count), 0.0f);
  std::generate_n(data, count, [&] { return uniform(low, high); });
  return data;
}

Linear TinyModel::linear(Scheme scheme, uint32_t n, uint32_t k) {
  Linear linear{.scheme = scheme, .n = static_cast<int>(n), .k = static_cast<int>(k)};
  linear.bias = padded_floats(n, -0.3f, 0.3f);
  const float bound = 2.0f / std::sqrt(static_cast<float>(k));
  switch (scheme) {
    case Scheme::kFloat:
      add_float_weights(linear, bound);
      break;
    case Scheme::kWeightOnlyInt4:
    case Scheme::kCodebook:
      add_4bit_weights(linear, bound);
      break;
    default:
      add_int8_weights(linear, bound);
  }
  return linear;
}

void TinyModel::add_float_weights(Linear& linear, float bound) {
  const auto n = static_cast<size_t>(linear.n), k = static_cast<size_t>(linear.k);
  std::vector<float> w(n * k);
  std::generate(w.begin(), w.end(), [&] { return uniform(-bound, bound); });
  auto* packed = allocate<float>(packed_f32_floats(n, k));
  pack_f32(w.data(), n, k, packed);
  linear.weight_f32 = packed;
}

void TinyModel::add_4bit_weights(Linear& linear, float bound) {
  const auto n = static_cast<size_t>(linear.n), k = static_cast<size_t>(linear.k);
  std::vector<int8_t> w(n * k);
  std::generate(w.begin(), w.end(), [&] { return static_cast<int8_t>(std::floor(uniform(-8.0f, 7.99f))); });
  auto* packed = allocate<uint8_t>(packed_4bit_bytes(n, k));
  pack_4bit(w.data(), n, k, packed);
  linear.weight_4bit = packed;
  if (linear.scheme == Scheme::kCodebook) {
    linear.codebook = floats(16, -1.0f, 1.0f);
    linear.scale = padded_floats(n, 0.5f * bound, 1.5f * bound);
    return;
  }
  linear.group_size = 16;
  const size_t groups = (k + 15) / 16, padded = padded_outputs(n);
  auto* scale = allocate<float>(groups * padded);
  std::fill_n(scale, groups * padded, 0.0f);
  for (size_t g = 0; g < groups; ++g) {
    std::generate_n(scale + g * padded, n, [&] { return uniform(0.5f, 1.5f) * bound / 8; });
  }
  linear.group_scale = scale;
}

void TinyModel::add_int8_weights(Linear& linear, float bound) {
  const auto n = static_cast<size_t>(linear.n), k = static_cast<size_t>(linear.k);
  std::vector<int8_t> w(n * k);
  std::generate(w.begin(), w.end(), [&] { return static_cast<int8_t>(uniform(-127.99f, 127.99f)); });
  auto* packed = allocate<int8_t>(packed_s8_bytes(n, k));
  pack_s8(w.data(), n, k, packed);
  auto* sums = allocate<int32_t>(padded_outputs(n));
  row_sums(w.data(), n, k, sums);
  float step = bound / 127;
  if (linear.scheme == Scheme::kStatic) {
    // Activations are of order 1, with a few at 4: some are clipped. The weights take in what inv multiplies.
    linear.input_inv = padded_floats(k, 20.0f, 45.0f);
    linear.input_zero[0] = static_cast<int32_t>(uniform(-30.0f, 30.0f));
    step /= 32;
  } else if (linear.scheme == Scheme::kDynamic && spec_.smoothed) {
    linear.input_inv = padded_floats(k, 0.5f, 1.5f);
  }
  linear.scale = padded_floats(n, 0.5f * step, 1.5f * step);
  linear.weight_s8 = packed;
  linear.sum = sums;
}

void TinyModel::add_static_attention(EncoderLayer& layer) {
  const size_t d = spec_.hidden, head_dim = d / spec_.heads;
  auto* inv = allocate<float>(padded_outputs(3 * d));
  std::fill_n(inv, padded_outputs(3 * d), 0.0f);
  auto* factor = allocate<float>(spec_.heads);
  auto* value_scale = allocate<float>(d);
  for (size_t h = 0; h < spec_.heads; ++h) {
    const float q = uniform(25.0f, 40.0f), k = uniform(25.0f, 40.0f);
    std::fill_n(inv + h * head_dim, head_dim, q);
    std::fill_n(inv + d + h * head_dim, head_dim, k);
    factor[h] = 1.0f / (q * k);
  }
  for (size_t c = 0; c < d; ++c) {
    inv[2 * d + c] = uniform(25.0f, 40.0f);
    value_scale[c] = 1.0f / inv[2 * d + c];
  }
  layer.qkv_output_inv = inv;
  layer.scores_factor = factor;
  layer.value_scale = value_scale;
}

std::vector<std::byte> TinyModel::pack(const std::vector<TestVector>& vectors) const {
  const format::ModelConfig& config = model_.config;
  ModelWriter writer(spec_.layers + 10);
  writer.add_section(SectionType::kConfig, "config", bytes_of(config), true);
  std::vector<std::string> labels{"O"};
  while (labels.size() < spec_.labels) labels.push_back("B-L" + std::to_string(labels.size()));
  writer.add_section(SectionType::kLabels, "labels", encode_strings(labels), true);
  writer.add_section(SectionType::kTokenizer, "tokenizer", tiny_tokenizer(spec_.vocab), true);
  std::vector<format::ProductEntry> products(6 * spec_.layers + 1);
  for (size_t i = 0; i < products.size(); ++i) {
    products[i].scheme = static_cast<uint32_t>(scheme_of(i));
    if (scheme_of(i) == Scheme::kWeightOnlyInt4) products[i].group_size = 16;
  }
  writer.add_section(SectionType::kProducts, "products", std::as_bytes(std::span(products)), true);
  writer.add_embeddings(config, model_.embeddings);
  for (uint32_t l = 0; l < spec_.layers; ++l) writer.add_layer(config, l, model_.layers[l]);
  writer.add_classifier(model_.classifier);
  const std::vector<std::string> provenance{"made_by", "tests/tiny_model.cpp", "shape", describe(spec_)};
  writer.add_section(SectionType::kProvenance, "provenance", encode_strings(provenance), false);
  if (!vectors.empty()) {
    writer.add_section(SectionType::kTestVectors, "test_vectors", encode_test_vectors(vectors, spec_.labels), false);
  }
  writer.finish();
  return writer.take();
}

std::vector<std::byte> tiny_tokenizer(uint32_t vocab) {
  converter::TokenizerSpec spec;
  const auto add = [&](const std::string& token) {
    if (spec.vocabulary.size() < vocab)
      spec.vocabulary.emplace_back(token, static_cast<uint32_t>(spec.vocabulary.size()));
  };
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    add(token);
    spec.added.push_back({.content = token, .id = static_cast<uint32_t>(spec.vocabulary.size() - 1), .special = true});
  }
  for (char c = 'a'; c <= 'z'; ++c) {
    add(std::string(1, c));
    add("##" + std::string(1, c));
  }
  for (uint32_t i = 0; spec.vocabulary.size() < vocab; ++i) {
    std::string word = "w";  // base 26, at least one digit
    for (uint32_t rest = i + 26; rest > 0; rest /= 26) word += static_cast<char>('a' + rest % 26);
    add(word);
  }
  spec.single = {{frozen::kToken, 2, 0}, {frozen::kSequenceA, 0, 0}, {frozen::kToken, 3, 0}};
  spec.pair = {{frozen::kToken, 2, 0},
               {frozen::kSequenceA, 0, 0},
               {frozen::kToken, 3, 0},
               {frozen::kSequenceB, 0, 1},
               {frozen::kToken, 3, 1}};
  return converter::freeze(spec);
}

RandomBatch::RandomBatch(const TinySpec& spec, const std::vector<int>& lengths, uint32_t seed, bool types) {
  std::mt19937 random(seed);
  offsets.push_back(0);
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) {
      ids.push_back(static_cast<int32_t>(random() % spec.vocab));
      if (types) type_ids.push_back(static_cast<int32_t>(random() % spec.types));
    }
    offsets.push_back(static_cast<int32_t>(ids.size()));
  }
}

RandomBatch RandomBatch::sequence(size_t s) const {
  RandomBatch one;
  const auto slice = [&](const std::vector<int32_t>& v) {
    return v.empty() ? v : std::vector<int32_t>(v.begin() + offsets[s], v.begin() + offsets[s + 1]);
  };
  one.ids = slice(ids);
  one.type_ids = slice(type_ids);
  one.offsets = {0, static_cast<int32_t>(one.ids.size())};
  return one;
}

}  // namespace octobert::test
