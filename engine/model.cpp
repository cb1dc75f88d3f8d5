#include "engine/model.h"

#include <cstring>
#include <string>

#include "engine/model_file.h"
#include "kernels/layout.h"
#include "octobert/error.h"

namespace octobert {

using format::DType;
using format::Scheme;

namespace {

// Looks tensors up and holds them against what the model needs.
class Tensors {
 public:
  explicit Tensors(const ModelFile& file) : file_(file) {}

  const float* floats(const std::string& name, uint64_t rows, uint64_t columns = 1) const {
    return get<float>(name, DType::kF32, Layout::kRowMajor, rows, columns);
  }
  const int8_t* bytes(const std::string& name, uint64_t rows, uint64_t columns) const {
    return get<int8_t>(name, DType::kI8, Layout::kRowMajor, rows, columns);
  }
  const int32_t* integers(const std::string& name, uint64_t rows) const {
    return get<int32_t>(name, DType::kI32, Layout::kRowMajor, rows, 1);
  }
  DType dtype(const std::string& name) const { return static_cast<DType>(find(name).entry->dtype); }

  // may_split: the input may be quantized in kMaxInputParts ways.
  Linear linear(const std::string& name, const format::ProductEntry& product, uint32_t n, uint32_t k,
                bool may_split = false) const {
    const std::string weight = name + ".weight";
    Linear linear{.scheme = static_cast<Scheme>(product.scheme), .n = static_cast<int>(n), .k = static_cast<int>(k)};
    linear.bias = floats(name + ".bias", padded_outputs(n));
    switch (linear.scheme) {
      case Scheme::kFloat:
        linear.weight_f32 = get<float>(weight, DType::kF32, Layout::kN16K1, n, k);
        return linear;
      case Scheme::kWeightOnlyInt4:
        linear.group_size = static_cast<int>(product.group_size);
        linear.weight_4bit = get<uint8_t>(weight, DType::kI4, Layout::kN16K8, n, k);
        linear.group_scale =
            floats(name + ".group_scale", (k + product.group_size - 1) / product.group_size, padded_outputs(n));
        return linear;
      case Scheme::kCodebook:
        linear.weight_4bit = get<uint8_t>(weight, DType::kU4, Layout::kN16K8, n, k);
        linear.codebook = floats(name + ".codebook", 16);
        linear.scale = floats(name + ".scale", padded_outputs(n));
        return linear;
      default:
        linear.weight_s8 = get<int8_t>(weight, DType::kI8, Layout::kN16K4, n, k);
        linear.scale = floats(name + ".scale", padded_outputs(n));
        linear.sum = integers(name + ".sum", padded_outputs(n));
    }
    const std::string inv = name + ".input_inv";
    if (linear.scheme == Scheme::kStatic && may_split && find(inv).entry->dims[1] != 1) {
      linear.input_parts = kMaxInputParts;
      linear.input_inv = floats(inv, kMaxInputParts, padded_outputs(k));
    } else if (linear.scheme == Scheme::kStatic || (linear.scheme == Scheme::kDynamic && file_.find_tensor(inv))) {
      linear.input_inv = floats(inv, padded_outputs(k));
    }
    if (linear.scheme == Scheme::kStatic) read_zero_points(name + ".input_zero", linear);
    return linear;
  }

  // One small tensor that is read when the file is opened: it goes into integer arithmetic, which must not overflow.
  void read_zero_points(const std::string& name, Linear& linear) const {
    const auto parts = static_cast<size_t>(linear.input_parts);
    std::memcpy(linear.input_zero.data(), integers(name, parts), parts * sizeof(int32_t));
    for (const int32_t zero : linear.input_zero) {
      if (zero >= -127 && zero <= 127) continue;
      throw Error(ErrorCode::kFormat,
                  file_.source() + ": tensor '" + name + "' is " + std::to_string(zero) + ", expected -127 to 127");
    }
  }

  LayerNormWeights norm(const std::string& name, uint32_t n) const {
    return {floats(name + ".gamma", n), floats(name + ".beta", n)};
  }

 private:
  Tensor find(const std::string& name) const {
    const auto tensor = file_.find_tensor(name);
    if (!tensor) throw Error(ErrorCode::kFormat, file_.source() + ": no tensor '" + name + "'");
    return *tensor;
  }

  // The size then follows: ModelFile holds every entry's size against its dtype, layout and dims.
  template <class T>
  const T* get(const std::string& name, DType dtype, Layout layout, uint64_t rows, uint64_t columns) const {
    const Tensor tensor = find(name);
    const format::TensorEntry& entry = *tensor.entry;
    const auto expect = [&](const char* field, uint64_t found, uint64_t expected, ErrorCode code) {
      if (found == expected) return;
      throw Error(code, file_.source() + ": tensor '" + name + "': " + field + " is " + std::to_string(found) +
                            ", expected " + std::to_string(expected));
    };
    expect("dtype", entry.dtype, static_cast<uint64_t>(dtype), ErrorCode::kUnsupported);
    expect("layout", entry.layout, static_cast<uint64_t>(layout), ErrorCode::kUnsupported);
    expect("dims[0]", entry.dims[0], rows, ErrorCode::kFormat);
    expect("dims[1]", entry.dims[1], columns, ErrorCode::kFormat);
    return reinterpret_cast<const T*>(tensor.bytes.data());
  }

  const ModelFile& file_;
};

Embeddings make_embeddings(const Tensors& tensors, const format::ModelConfig& config) {
  Embeddings embeddings;
  const uint32_t d = config.hidden_size;
  if (tensors.dtype("embeddings.word") == DType::kI8) {
    embeddings.word_s8 = tensors.bytes("embeddings.word", config.vocab_size, d);
    embeddings.word_scale = tensors.floats("embeddings.word.scale", config.vocab_size);
  } else {
    embeddings.word_f32 = tensors.floats("embeddings.word", config.vocab_size, d);
  }
  embeddings.position = tensors.floats("embeddings.position", config.max_positions, d);
  embeddings.type = tensors.floats("embeddings.type", config.type_count, d);
  embeddings.norm = tensors.norm("embeddings.norm", d);
  return embeddings;
}

[[noreturn]] void refuse_mixed_attention(const ModelFile& file, const std::string& layer, size_t product) {
  std::string message = file.source();
  message += ": products '" + layer + "scores' and '";
  message += layer + "context' have schemes ";
  message += std::to_string(file.products()[product + 1].scheme) + " and ";
  message += std::to_string(file.products()[product + 2].scheme) +
             ", expected both float (0), both dynamic (2) or both static (3)";
  throw Error(ErrorCode::kUnsupported, message);
}

}  // namespace

Linear Linear::part(int index) const {
  if (input_parts == 1) return *this;
  const auto i = static_cast<size_t>(index), inputs = static_cast<size_t>(k);
  const size_t outputs = static_cast<size_t>(n / input_parts), first = i * outputs;
  Linear part = *this;
  part.n = n / input_parts;
  part.weight_s8 += first / kPanelWidth * packed_s8_panel_bytes(inputs);
  part.scale += first;
  part.sum += first;
  part.bias += first;
  part.input_parts = 1;
  part.input_inv += i * padded_outputs(inputs);
  part.input_zero = {input_zero[i]};
  return part;
}

BertModel make_bert_model(const ModelFile& file) {
  const format::ModelConfig& config = file.config();
  const uint32_t d = config.hidden_size;
  const Tensors tensors(file);
  const auto product_entry = [&](size_t product) -> const format::ProductEntry& { return file.products()[product]; };
  const auto scheme = [&](size_t product) { return static_cast<Scheme>(product_entry(product).scheme); };

  BertModel model;
  model.config = config;
  model.embeddings = make_embeddings(tensors, config);
  for (uint32_t l = 0; l < config.layer_count; ++l) {
    const std::string name = "layer." + std::to_string(l) + ".";
    const size_t product = 6 * size_t{l};
    const Scheme attention = scheme(product + 1);
    // Neither has weights, and the kernels know both in integers or both in floats.
    if (attention != scheme(product + 2) ||
        (attention != Scheme::kFloat && attention != Scheme::kDynamic && attention != Scheme::kStatic)) {
      refuse_mixed_attention(file, name, product);
    }
    EncoderLayer layer;
    layer.qkv = tensors.linear(name + "qkv", product_entry(product), 3 * d, d, d % kPanelWidth == 0);
    layer.attention = attention;
    if (attention == Scheme::kStatic) {
      layer.qkv_output_inv = tensors.floats(name + "qkv.output_inv", padded_outputs(3 * size_t{d}));
      layer.scores_factor = tensors.floats(name + "scores.factor", config.head_count);
      layer.value_scale = tensors.floats(name + "context.value_scale", d);
    }
    layer.attention_output = tensors.linear(name + "attention_output", product_entry(product + 3), d, d);
    layer.attention_norm = tensors.norm(name + "attention_norm", d);
    layer.ffn1 = tensors.linear(name + "ffn1", product_entry(product + 4), config.intermediate_size, d);
    layer.ffn2 = tensors.linear(name + "ffn2", product_entry(product + 5), d, config.intermediate_size);
    layer.ffn_norm = tensors.norm(name + "ffn_norm", d);
    model.layers.push_back(layer);
  }
  model.classifier = tensors.linear("classifier", product_entry(6 * size_t{config.layer_count}), config.label_count, d);
  return model;
}

}  // namespace octobert
