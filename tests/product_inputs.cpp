// Not a test: the integers that the products of a packed model read, for training/tests/test_end_to_end.py.
//
//   product_inputs MODEL.octo TEXTS.txt OUT.safetensors      TEXTS: a text a line
//
// OUT holds, of all texts' T tokens one after the other: ids [T] and offsets [texts + 1] (int32), and of each integer
// product's inputs (int8, as the arithmetic has them: -127 to 127):
//   layer.N.qkv, .attention_output, .ffn1, .ffn2   [T][k]
//   layer.N.scores                                 [T][2 hidden size]: queries, keys
//   layer.N.values                                 [T][hidden size]: what context reads beside the levels
//   layer.N.levels                                 uint8, 0 to 254: [S][S] of each head of each text in turn
// and the layer's result, layer.N.ffn_norm [T][hidden size] (float32).
//
// They are those of the scalar kernels, which every other instruction set equals and which leave a product's input as
// it is (SplitRowsArgs). What attention makes inside of a call comes from the same kernels for the same floats or
// bytes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "converter/evaluate.h"
#include "converter/safetensors.h"
#include "engine/aligned_buffer.h"
#include "engine/bert.h"
#include "engine/engine_access.h"
#include "engine/fp_guard.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

namespace {

using namespace octobert;
using converter::DataType;
using format::Scheme;

constexpr int kMostLevel = 254;

// One head of one text.
struct Head {
  size_t first_token;
  int s, d;  // tokens, columns
  size_t column;
};

class ProductInputs {
 public:
  ProductInputs(const BertModel& model, const converter::EncodedTexts& texts) : model_(model), texts_(texts) {
    for (const EncoderLayer& layer : model.layers) {
      if (layer.qkv.input_parts != 1) throw std::runtime_error("query, key and value read different integers");
    }
  }

  void run() {
    const Observer observer = [this](const Intermediate& result) { look(result); };
    std::vector<float> logits(texts_.ids.size() * model_.config.label_count);
    forward({.kernels = &kScalarTable, .observer = &observer}, model_, {texts_.ids, {}, texts_.offsets}, logits,
            state_);
  }

  void write(const std::string& path) const {
    std::vector<converter::TensorToWrite> tensors;
    tensors.push_back({"ids", DataType::kI32, {texts_.ids.size()}, std::as_bytes(std::span(texts_.ids))});
    tensors.push_back({"offsets", DataType::kI32, {texts_.offsets.size()}, std::as_bytes(std::span(texts_.offsets))});
    for (const Tensor& tensor : found_) {
      tensors.push_back({tensor.name, tensor.type, tensor.shape, std::as_bytes(std::span(tensor.bytes))});
    }
    converter::write_safetensors(path, tensors);
  }

 private:
  struct Tensor {
    std::string name;
    DataType type;
    std::vector<uint64_t> shape;
    std::vector<uint8_t> bytes;  // int8 as two's complement, float32 as it lies
  };

  // Called with the result of a step: the bytes that it read, or left for the next one, are in the state.
  void look(const Intermediate& result) {
    if (!result.name.starts_with("layer.")) return;
    const size_t dot = result.name.find('.', 6);
    const std::string layer_name(result.name.substr(0, dot + 1));
    const std::string_view name = result.name.substr(dot + 1);
    const EncoderLayer& layer = model_.layers[std::stoul(layer_name.substr(6))];
    if (name == "qkv") {
      keep(layer_name + "qkv", layer.qkv, state_.hidden);
      if (layer.attention == Scheme::kStatic) static_attention(layer_name, layer);
      if (layer.attention == Scheme::kDynamic) dynamic_attention(layer_name);
    } else if (name == "attention_output") {
      keep(layer_name + "attention_output", layer.attention_output, state_.context);
    } else if (name == "attention_norm") {
      keep(layer_name + "ffn1", layer.ffn1, state_.hidden);
    } else if (name == "ffn1") {
      keep(layer_name + "ffn2", layer.ffn2, state_.block(0).ffn);
    } else if (name == "ffn_norm") {
      keep_floats(result);
    }
  }

  static uint8_t integer(uint8_t byte) { return static_cast<uint8_t>(byte - kScalarTable.activation_offset); }

  Tensor& add(const std::string& name, size_t columns) {
    found_.push_back({name, DataType::kI8, {texts_.ids.size(), columns}, {}});
    found_.back().bytes.resize(texts_.ids.size() * columns);
    return found_.back();
  }

  void keep(const std::string& name, const Linear& product, const ActivationRows& rows) {
    if (product.scheme != Scheme::kDynamic && product.scheme != Scheme::kStatic) return;
    keep(name, rows, 0, static_cast<size_t>(product.k));
  }
  void keep(const std::string& name, const ActivationRows& rows, size_t first_column, size_t columns) {
    Tensor& tensor = add(name, columns);
    for (size_t i = 0; i < texts_.ids.size(); ++i) {
      const uint8_t* row = rows.q + i * rows.q_stride + first_column;
      std::transform(row, row + columns, tensor.bytes.begin() + static_cast<ptrdiff_t>(i * columns), integer);
    }
  }

  void keep_floats(const Intermediate& result) {
    const auto columns = static_cast<size_t>(result.columns);
    Tensor& tensor =
        found_.emplace_back(Tensor{std::string(result.name), DataType::kF32, {texts_.ids.size(), columns}, {}});
    for (size_t i = 0; i < texts_.ids.size(); ++i) {
      const auto* row = reinterpret_cast<const uint8_t*>(result.data + i * result.stride);
      tensor.bytes.insert(tensor.bytes.end(), row, row + columns * sizeof(float));
    }
  }

  template <class Body>
  void for_each_head(const Body& body) const {
    const size_t heads = model_.config.head_count, d = model_.config.hidden_size / heads;
    for (size_t text = 0; text + 1 < texts_.offsets.size(); ++text) {
      const int begin = texts_.offsets[text], end = texts_.offsets[text + 1];
      for (size_t head = 0; head < heads; ++head) {
        body(Head{static_cast<size_t>(begin), end - begin, static_cast<int>(d), head * d});
      }
    }
  }

  Tensor& add_levels(const std::string& layer) {
    found_.push_back({layer + "levels", DataType::kU8, {}, {}});
    return found_.back();
  }

  void static_attention(const std::string& name, const EncoderLayer& layer) {
    const size_t d = model_.config.hidden_size;
    keep(name + "scores", state_.qkv, 0, 2 * d);
    keep(name + "values", state_.qkv, 2 * d, d);
    Tensor& levels = add_levels(name);
    for_each_head([&](const Head& h) {
      const size_t stride = activation_stride(static_cast<size_t>(h.d)), hidden = model_.config.hidden_size;
      const auto s = static_cast<size_t>(h.s), width = static_cast<size_t>(h.d);
      const uint8_t* q = state_.qkv.q + h.first_token * state_.qkv.q_stride + h.column;
      // q and k lie as the engine has them; v, with the same stride, is made here.
      std::vector<uint8_t> v(s * state_.qkv.q_stride);
      const std::vector<float> v_scale(width, 1.0f);
      append_levels(levels, h, [&](size_t first, float* dst, void* scratch) {
        std::fill(v.begin(), v.end(), static_cast<uint8_t>(kScalarTable.activation_offset));
        for (size_t j = first; j < std::min(s, first + width); ++j) ++v[j * state_.qkv.q_stride + j - first];
        kScalarTable.attention_static({.q = q,
                                       .k = q + hidden,
                                       .v = v.data(),
                                       .ld = state_.qkv.q_stride,
                                       .score_factor = layer.scores_factor[h.column / width],
                                       .v_scale = v_scale.data(),
                                       .dst = dst,
                                       .ldd = stride,
                                       .scratch = scratch,
                                       .s = h.s,
                                       .head_dim = h.d,
                                       .row_begin = 0,
                                       .row_end = h.s});
      });
    });
    finish(levels);
  }

  void dynamic_attention(const std::string& name) {
    const size_t d = model_.config.hidden_size;
    Tensor& scores = add(name + "scores", 2 * d);
    Tensor& values = add(name + "values", d);
    Tensor& levels = add_levels(name);
    for_each_head([&](const Head& h) {
      const float* q = state_.qkv.data + h.first_token * state_.qkv.stride + h.column;
      quantize(h, q, state_.qkv.stride, false, &scores.bytes[h.first_token * 2 * d + h.column], 2 * d);
      quantize(h, q + d, state_.qkv.stride, false, &scores.bytes[h.first_token * 2 * d + d + h.column], 2 * d);
      quantize(h, q + 2 * d, state_.qkv.stride, true, &values.bytes[h.first_token * d + h.column], d);

      const auto s = static_cast<size_t>(h.s), width = static_cast<size_t>(h.d);
      std::vector<float> v(s * state_.qkv.stride);
      append_levels(levels, h, [&](size_t first, float* dst, void* scratch) {
        std::fill(v.begin(), v.end(), 0.0f);
        for (size_t j = first; j < std::min(s, first + width); ++j) v[j * state_.qkv.stride + j - first] = 127;
        kScalarTable.attention_s8({.q = q,
                                   .k = q + d,
                                   .v = v.data(),
                                   .ld = state_.qkv.stride,
                                   .dst = dst,
                                   .ldd = activation_stride(width),
                                   .scratch = scratch,
                                   .s = h.s,
                                   .head_dim = h.d,
                                   .row_begin = 0,
                                   .row_end = h.s});
      });
    });
    finish(levels);
  }

  // What attention_s8 does to rows (Q, K) or columns (V) before it multiplies.
  static void quantize(const Head& h, const float* src, size_t lds, bool columns, uint8_t* dst, size_t ldd) {
    const int m = columns ? h.d : h.s, k = columns ? h.s : h.d;
    const auto rows = static_cast<size_t>(m), width = static_cast<size_t>(k), stride = activation_stride(width);
    std::vector<float> x(rows * width), scale(rows);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < width; ++j) x[i * width + j] = columns ? src[j * lds + i] : src[i * lds + j];
    }
    std::vector<uint8_t> bytes(rows * stride);
    kScalarTable.quantize_rows({.src = x.data(),
                                .lds = width,
                                .row_max_bits = nullptr,
                                .dst = bytes.data(),
                                .ldd = stride,
                                .scale = scale.data(),
                                .m = m,
                                .k = k});
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < width; ++j) {
        (columns ? dst[j * ldd + i] : dst[i * ldd + j]) = integer(bytes[i * stride + j]);
      }
    }
  }

  // attend(first, dst, scratch): attention whose V has a one for token `first` in the first column, for the next token
  // in the next, and so on: each row of dst is then proportional to the levels of these tokens. A row's largest is 254.
  template <class Attend>
  static void append_levels(Tensor& levels, const Head& h, const Attend& attend) {
    const auto s = static_cast<size_t>(h.s), width = static_cast<size_t>(h.d), stride = activation_stride(width);
    std::vector<float> weights(s * s), dst(s * stride);
    AlignedBuffer scratch(attention_scratch_bytes(s, width));
    for (size_t first = 0; first < s; first += width) {
      attend(first, dst.data(), scratch.data());
      for (size_t i = 0; i < s; ++i) {
        std::copy_n(&dst[i * stride], std::min(width, s - first), &weights[i * s + first]);
      }
    }
    for (auto row = weights.begin(); row != weights.end(); row += h.s) {
      const float most = *std::max_element(row, row + h.s);
      std::transform(row, row + h.s, std::back_inserter(levels.bytes), [most](float weight) {
        return static_cast<uint8_t>(std::lround(static_cast<float>(kMostLevel) * weight / most));
      });
    }
  }
  static void finish(Tensor& levels) { levels.shape = {levels.bytes.size()}; }

  const BertModel& model_;
  const converter::EncodedTexts& texts_;
  BertState state_;
  std::deque<Tensor> found_;  // references to them stay valid
};

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  if (lines.empty()) throw std::runtime_error(path + ": expected a text a line, found none");
  return lines;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: product_inputs MODEL.octo TEXTS.txt OUT.safetensors\n");
    return 2;
  }
  try {
    const FpGuard guard;
    const Engine engine = Engine::open(argv[1]);
    const converter::EncodedTexts texts = converter::encode_texts(engine, read_lines(argv[2]));
    ProductInputs inputs(EngineAccess::model(engine), texts);
    inputs.run();
    inputs.write(argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "product_inputs: %s\n", error.what());
    return 1;
  }
  return 0;
}
