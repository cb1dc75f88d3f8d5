// PyTorch's own files of weights (pytorch_model.bin): a zip archive of a pickle and the tensors' storages, as
// torch.save writes since PyTorch 1.6. The pickle is read by converter/pickle.h and runs nothing.
#ifndef OCTOBERT_CONVERTER_TORCH_FILE_H_
#define OCTOBERT_CONVERTER_TORCH_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "converter/input_file.h"
#include "converter/weight_file.h"
#include "converter/zip_directory.h"

namespace octobert::converter {

// Where a tensor's elements are: element [i][j] is element offset + i strides[0] + j strides[1] of its storage.
struct TorchTensor {
  std::string storage;  // the storage's key; empty: the values are `inline_bytes`
  uint64_t offset = 0;  // elements
  std::vector<uint64_t> strides = {};
  std::vector<std::byte> inline_bytes = {};
};

struct TorchState {
  std::vector<TensorInfo> infos;
  std::vector<TorchTensor> tensors;  // of infos, in order
};

// The tensors of a pickled state dict, also of one under "state_dict", "model" or "model_state_dict"; what is no tensor
// is left out. A quantized tensor T comes as three: T (I8, U8 or I32), T_scale (F64, [1] or [channels]) and
// T_zero_point (I64); a quantized layer's X._packed_params._packed_params as X.weight, with those, and X.bias.
// storage_bytes: the size of each storage by key; every element of every tensor is known to lie in its storage.
// Throws Error(kFormat, kUnsupported) naming `source` and the tensor.
TorchState read_torch_state(std::string_view pickle, const std::map<std::string, uint64_t>& storage_bytes,
                            const std::string& source);

class TorchFile final : public WeightFile {
 public:
  explicit TorchFile(const std::filesystem::path& path);

  const std::string& name() const override { return file_.name(); }
  uint64_t file_bytes() const override { return file_.size(); }
  std::span<const TensorInfo> tensors() const override { return state_.infos; }
  void read_elements(const TensorInfo& tensor, uint64_t first, uint64_t count, std::byte* dst) const override;

 private:
  InputFile file_;
  std::map<std::string, uint64_t> storage_offset_;  // of each storage in the file
  TorchState state_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TORCH_FILE_H_
