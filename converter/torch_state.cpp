// The tree of a pickled state dict -> tensors (torch/_utils.py: _rebuild_tensor_v2, _rebuild_parameter,
// _rebuild_qtensor).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "converter/pickle.h"
#include "converter/torch_file.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kAllowed[] = {"collections OrderedDict",
                                         "torch._utils _rebuild_tensor_v2",
                                         "torch._utils _rebuild_parameter",
                                         "torch._utils _rebuild_qtensor",
                                         "torch per_tensor_affine",
                                         "torch per_channel_affine",
                                         "torch qint8",
                                         "torch quint8",
                                         "torch qint32",
                                         "torch float16",
                                         "torch float32",
                                         "torch bfloat16",
                                         "torch Size",
                                         "torch FloatStorage",
                                         "torch DoubleStorage",
                                         "torch HalfStorage",
                                         "torch BFloat16Storage",
                                         "torch LongStorage",
                                         "torch IntStorage",
                                         "torch ShortStorage",
                                         "torch CharStorage",
                                         "torch ByteStorage",
                                         "torch BoolStorage",
                                         "torch QInt8Storage",
                                         "torch QUInt8Storage",
                                         "torch QInt32Storage"};

struct StorageType {
  std::string_view name;
  DataType type;
};
constexpr StorageType kStorageTypes[] = {
    {"torch FloatStorage", DataType::kF32}, {"torch DoubleStorage", DataType::kF64},
    {"torch HalfStorage", DataType::kF16},  {"torch BFloat16Storage", DataType::kBF16},
    {"torch LongStorage", DataType::kI64},  {"torch IntStorage", DataType::kI32},
    {"torch ShortStorage", DataType::kI16}, {"torch CharStorage", DataType::kI8},
    {"torch ByteStorage", DataType::kU8},   {"torch BoolStorage", DataType::kBool},
    {"torch QInt8Storage", DataType::kI8},  {"torch QUInt8Storage", DataType::kU8},
    {"torch QInt32Storage", DataType::kI32}};

constexpr std::string_view kPacked = "._packed_params._packed_params";
constexpr uint64_t kMaxRank = 8;

class StateReader {
 public:
  StateReader(const std::map<std::string, uint64_t>& storage_bytes, const std::string& source, TorchState& state)
      : storage_bytes_(storage_bytes), source_(source), state_(state) {}

  void read(const PickleValue& root) {
    const PickleValue* dict = &root;
    for (int depth = 0; depth < 3 && !holds_tensors(*dict); ++depth) {  // a trainer's file holds more than the weights
      const PickleValue* inner = nullptr;
      for (const char* key : {"state_dict", "model_state_dict", "model"}) {
        if (!inner) inner = find(*dict, key);
      }
      if (!inner) break;
      dict = inner;
    }
    if (dict->kind != Kind::kDict || !holds_tensors(*dict)) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: expected a state dict: tensors by name", source_));
    }
    for (size_t i = 0; i + 1 < dict->items.size(); i += 2) {
      if (dict->items[i]->kind == Kind::kString) add(dict->items[i]->text, *dict->items[i + 1]);
    }
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}': {}", source_, name_, problem));
  }

  static const PickleValue* find(const PickleValue& dict, std::string_view key) {
    if (dict.kind != Kind::kDict) return nullptr;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      if (dict.items[i]->kind == Kind::kString && dict.items[i]->text == key) return dict.items[i + 1];
    }
    return nullptr;
  }

  static bool is_tensor(const PickleValue& value) {
    return value.kind == Kind::kCall && value.items[0]->text.starts_with("torch._utils _rebuild");
  }
  static bool is_packed(const PickleValue& value) {
    return value.kind == Kind::kTuple && !value.items.empty() && is_tensor(*value.items[0]);
  }
  static bool holds_tensors(const PickleValue& dict) {
    if (dict.kind != Kind::kDict) return false;
    for (size_t i = 1; i < dict.items.size(); i += 2) {
      if (is_tensor(*dict.items[i]) || is_packed(*dict.items[i])) return true;
    }
    return false;
  }

  void add(const std::string& key, const PickleValue& value) {
    name_ = key;
    if (is_tensor(value)) return add_tensor(key, value);
    if (!is_packed(value) || !key.ends_with(kPacked)) return;
    const std::string layer = key.substr(0, key.size() - kPacked.size());
    add_tensor(layer + ".weight", *value.items[0]);
    if (value.items.size() > 1 && is_tensor(*value.items[1])) add_tensor(layer + ".bias", *value.items[1]);
  }

  // The arguments of a call, `count` of them at least.
  std::span<const PickleValue* const> arguments(const PickleValue& call, size_t count) const {
    const PickleValue& tuple = *call.items[1];
    if (tuple.items.size() < count) fail("too few arguments to rebuild it");
    return tuple.items;
  }

  void add_tensor(const std::string& name, const PickleValue& value) {
    const PickleValue* call = &value;
    for (int depth = 0; call->items[0]->is_global("torch._utils _rebuild_parameter"); ++depth) {
      call = arguments(*call, 1)[0];
      if (depth > 1 || !is_tensor(*call)) fail("a parameter of what is not a tensor");
    }
    const bool quantized = call->items[0]->is_global("torch._utils _rebuild_qtensor");
    const auto parts = arguments(*call, quantized ? 5 : 4);
    add_plain(name, *parts[0], *parts[1], *parts[2], *parts[3]);
    if (quantized) add_quantizer(name, *parts[4]);
  }

  uint64_t unsigned_of(const PickleValue& value) const {
    if (value.kind != Kind::kInt || value.integer < 0) fail("expected an integer from 0 on");
    return static_cast<uint64_t>(value.integer);
  }

  std::vector<uint64_t> sizes_of(const PickleValue& value) const {
    const PickleValue* tuple = &value;
    if (tuple->kind == Kind::kCall && tuple->items[0]->is_global("torch Size")) {
      const auto inner = arguments(*tuple, 1);
      tuple = inner[0];
    }
    if (tuple->kind != Kind::kTuple || tuple->items.size() > kMaxRank) fail("expected a tuple of at most 8 sizes");
    std::vector<uint64_t> sizes;
    for (const PickleValue* item : tuple->items) sizes.push_back(unsigned_of(*item));
    return sizes;
  }

  struct Storage {
    std::string key;
    DataType type;
  };
  // ("storage", type, key, place, elements)
  Storage storage_of(const PickleValue& value) const {
    if (value.kind != Kind::kPersistent || value.items[0]->kind != Kind::kTuple) fail("expected a storage");
    const auto& id = value.items[0]->items;
    if (id.size() < 5 || id[0]->text != "storage" || id[1]->kind != Kind::kGlobal || id[2]->kind != Kind::kString) {
      fail("expected a storage");
    }
    const auto* const row = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                         [&](const StorageType& type) { return type.name == id[1]->text; });
    if (row == std::end(kStorageTypes)) fail(fmt::format("storage type '{}'", id[1]->text));
    if (!storage_bytes_.contains(id[2]->text)) fail(fmt::format("storage '{}' is missing", id[2]->text));
    return {id[2]->text, row->type};
  }

  // Product of the sizes; and checks that the last element lies inside the storage.
  uint64_t checked_elements(const std::vector<uint64_t>& shape, const TorchTensor& tensor, uint64_t storage) const {
    uint64_t elements = 1, last = tensor.offset;
    for (const uint64_t size : shape) {
      if (size != 0 && elements > std::numeric_limits<uint64_t>::max() / 8 / size) fail("its size overflows");
      elements *= size;
    }
    if (elements == 0) return 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      const uint64_t steps = shape[i] - 1, room = storage > last ? storage - last : 0;
      if (steps != 0 && tensor.strides[i] > room / steps) fail("it reaches beyond its storage");
      last += steps * tensor.strides[i];
    }
    if (last >= storage) fail("it reaches beyond its storage");
    return elements;
  }

  void add_plain(const std::string& name, const PickleValue& storage_id, const PickleValue& offset,
                 const PickleValue& sizes, const PickleValue& strides) {
    const Storage storage = storage_of(storage_id);
    TensorInfo info{.name = name, .type = storage.type, .shape = sizes_of(sizes)};
    TorchTensor tensor{.storage = storage.key, .offset = unsigned_of(offset), .strides = sizes_of(strides)};
    if (tensor.strides.size() != info.shape.size()) fail("shape and strides differ in length");
    const uint64_t room = storage_bytes_.at(storage.key) / data_type_size(storage.type);
    info.elements = checked_elements(info.shape, tensor, room);
    push(std::move(info), std::move(tensor));
  }

  template <typename T>
  void add_inline(const std::string& name, DataType type, T value) {
    TorchTensor tensor;
    tensor.inline_bytes.resize(sizeof(T));
    std::memcpy(tensor.inline_bytes.data(), &value, sizeof(T));
    push({.name = name, .type = type, .shape = {1}, .elements = 1}, std::move(tensor));
  }

  // (per_tensor_affine, scale, zero point) or (per_channel_affine, scales, zero points, axis)
  void add_quantizer(const std::string& name, const PickleValue& quantizer) {
    const auto& items = quantizer.items;
    if (quantizer.kind != Kind::kTuple || items.size() < 3) fail("expected the parameters of a quantizer");
    if (items[0]->is_global("torch per_tensor_affine") && items[1]->kind == Kind::kFloat &&
        items[2]->kind == Kind::kInt) {
      add_inline(name + "_scale", DataType::kF64, items[1]->real);
      add_inline(name + "_zero_point", DataType::kI64, items[2]->integer);
    } else if (items[0]->is_global("torch per_channel_affine") && items.size() > 3 && is_tensor(*items[1]) &&
               is_tensor(*items[2])) {
      if (unsigned_of(*items[3]) != 0) fail("its scales belong to another axis than the outputs'");
      add_scales(name + "_scale", *items[1]);
      add_scales(name + "_zero_point", *items[2]);
    } else {
      fail("quantized in another way than per tensor or per channel");
    }
  }

  void add_scales(const std::string& name, const PickleValue& value) {
    if (!value.items[0]->is_global("torch._utils _rebuild_tensor_v2")) fail("its scales are not plain tensors");
    add_tensor(name, value);
  }

  void push(TensorInfo info, TorchTensor tensor) {
    if (!names_.insert(info.name).second) fail(fmt::format("'{}' appears twice", info.name));
    state_.infos.push_back(std::move(info));
    state_.tensors.push_back(std::move(tensor));
  }

  const std::map<std::string, uint64_t>& storage_bytes_;
  const std::string& source_;
  TorchState& state_;
  std::set<std::string> names_;
  std::string name_;  // of the tensor being read, for messages
};

}  // namespace

TorchState read_torch_state(std::string_view pickle, const std::map<std::string, uint64_t>& storage_bytes,
                            const std::string& source) {
  const Pickle tree(pickle, kAllowed, source);
  TorchState state;
  StateReader(storage_bytes, source, state).read(tree.root());
  return state;
}

}  // namespace octobert::converter
