#include "tests/static_model.h"

#include <algorithm>
#include <cmath>

#include "engine/bert.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "kernels/pack.h"

namespace octobert::test {

using format::Scheme;

namespace {

float weight(const Linear& l, size_t n, size_t k) {
  const auto depth = static_cast<size_t>(l.k);
  if (l.scheme == Scheme::kFloat) return l.weight_f32[packed_f32_offset(n, k, depth)];
  return l.scale[n] * static_cast<float>(l.weight_s8[packed_s8_offset(n, k, depth)]);
}

}  // namespace

StaticModel::StaticModel(const BertModel& floats, const PackedBatch& batch, float margin)
    : margin_(margin), model_(floats) {
  observe(floats, batch);
  const auto d = static_cast<size_t>(floats.config.hidden_size);
  std::string hidden = "embeddings";
  for (size_t l = 0; l < floats.layers.size(); ++l) {
    const std::string name = "layer." + std::to_string(l) + ".";
    EncoderLayer& layer = model_.layers[l];
    layer.qkv = linear(floats.layers[l].qkv, range(hidden, 0, d));
    make_attention(layer, name);
    layer.attention_output = linear(floats.layers[l].attention_output, range(name + "context", 0, d));
    layer.ffn1 = linear(floats.layers[l].ffn1, range(name + "attention_norm", 0, d));
    layer.ffn2 = linear(floats.layers[l].ffn2, range(name + "ffn1", 0, floats.config.intermediate_size));
    hidden = name + "ffn_norm";
  }
  model_.classifier = linear(floats.classifier, range(hidden, 0, d));
  model_.config.scheme = static_cast<uint32_t>(Scheme::kStatic);
}

template <class T>
T* StaticModel::allocate(size_t count) {
  storage_.emplace_back(count * sizeof(T));
  auto* data = reinterpret_cast<T*>(storage_.back().data());
  std::fill_n(data, count, T{});
  return data;
}

void StaticModel::observe(const BertModel& floats, const PackedBatch& batch) {
  const Observer observer = [this](const Intermediate& i) {
    std::vector<Range>& ranges = sites_[std::string(i.name)];
    ranges.resize(static_cast<size_t>(i.columns));
    for (int m = 0; m < i.rows; ++m) {
      for (size_t c = 0; c < ranges.size(); ++c) {
        const float x = i.data[static_cast<size_t>(m) * i.stride + c];
        ranges[c] = {std::min(ranges[c].low, x), std::max(ranges[c].high, x)};
      }
    }
  };
  std::vector<float> logits(batch.ids.size() * floats.config.label_count);
  BertState state;
  forward({.kernels = &best_table(detect_cpu_features()), .observer = &observer}, floats, batch, logits, state);
}

StaticModel::Range StaticModel::range(const std::string& site, size_t begin, size_t count) const {
  const std::vector<Range>& columns = sites_.at(site);
  Range all;
  for (size_t c = begin; c < begin + count; ++c) {
    all = {std::min(all.low, columns[c].low), std::max(all.high, columns[c].high)};
  }
  return {all.low * margin_, std::max(all.high, all.low + 1e-3f) * margin_};
}

// [low, high] onto [-127, 127], zero exactly representable.
Linear StaticModel::linear(const Linear& floats, Range input) {
  const auto n = static_cast<size_t>(floats.n), k = static_cast<size_t>(floats.k);
  const float inverse = 254.0f / (input.high - input.low);
  Linear linear{.scheme = Scheme::kStatic, .n = floats.n, .k = floats.k};
  linear.bias = floats.bias;
  linear.input_zero[0] = static_cast<int32_t>(std::nearbyint(-127.0f - input.low * inverse));
  auto* inv = allocate<float>(padded_outputs(k));
  std::fill_n(inv, k, inverse);
  linear.input_inv = inv;
  auto* scale = allocate<float>(padded_outputs(n));
  std::vector<int8_t> w(n * k);
  for (size_t i = 0; i < n; ++i) {
    float largest = 1e-20f;
    for (size_t j = 0; j < k; ++j) largest = std::max(largest, std::abs(weight(floats, i, j) / inverse));
    scale[i] = largest / 127.0f;
    for (size_t j = 0; j < k; ++j) {
      w[i * k + j] = static_cast<int8_t>(std::nearbyint(weight(floats, i, j) / inverse / scale[i]));
    }
  }
  auto* packed = allocate<int8_t>(packed_s8_bytes(n, k));
  auto* sum = allocate<int32_t>(padded_outputs(n));
  pack_s8(w.data(), n, k, packed);
  row_sums(w.data(), n, k, sum);
  linear.weight_s8 = packed;
  linear.scale = scale;
  linear.sum = sum;
  return linear;
}

void StaticModel::make_attention(EncoderLayer& layer, const std::string& name) {
  const auto d = static_cast<size_t>(model_.config.hidden_size), heads = static_cast<size_t>(model_.config.head_count);
  const size_t head_dim = d / heads;
  auto* inv = allocate<float>(padded_outputs(3 * d));
  auto* factor = allocate<float>(heads);
  auto* value_scale = allocate<float>(d);
  const auto scale = [&](size_t begin, size_t count) {
    const Range r = range(name + "qkv", begin, count);
    return std::max(r.high, -r.low) / 127.0f;
  };
  for (size_t h = 0; h < heads; ++h) {
    const float q = scale(h * head_dim, head_dim), k = scale(d + h * head_dim, head_dim);
    std::fill_n(inv + h * head_dim, head_dim, 1.0f / q);
    std::fill_n(inv + d + h * head_dim, head_dim, 1.0f / k);
    factor[h] = q * k;
  }
  for (size_t c = 0; c < d; ++c) {
    value_scale[c] = scale(2 * d + c, 1);
    inv[2 * d + c] = 1.0f / value_scale[c];
  }
  layer.attention = Scheme::kStatic;
  layer.qkv_output_inv = inv;
  layer.scores_factor = factor;
  layer.value_scale = value_scale;
}

}  // namespace octobert::test
