// The pickle and the archive of a pytorch_model.bin: any bytes give tensors that lie in their storages, or an Error.
#include <stddef.h>
#include <stdint.h>

#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include "converter/torch_file.h"
#include "converter/zip_directory.h"
#include "octobert/error.h"

namespace {

using namespace octobert;

void read_archive(const uint8_t* data, size_t size) {
  const auto read = [&](uint64_t offset, void* dst, size_t bytes) {
    if (offset > size || bytes > size - offset) __builtin_trap();
    if (bytes != 0) std::memcpy(dst, data + offset, bytes);  // dst of an empty directory is null
  };
  for (const converter::ZipEntry& entry : converter::read_zip_directory(size, read, "fuzz")) {
    if (entry.offset > size || entry.bytes > size - entry.offset) __builtin_trap();
  }
}

void read_pickle(const uint8_t* data, size_t size) {
  const std::map<std::string, uint64_t> storages = {{"0", 32}, {"1", 8}, {"2", 1 << 16}};
  const auto state =
      converter::read_torch_state(std::string_view(reinterpret_cast<const char*>(data), size), storages, "fuzz");
  for (size_t i = 0; i < state.infos.size(); ++i) {
    const converter::TensorInfo& info = state.infos[i];
    const converter::TorchTensor& tensor = state.tensors[i];
    if (info.elements == 0 || tensor.storage.empty()) continue;
    uint64_t last = tensor.offset;
    for (size_t d = 0; d < info.shape.size(); ++d) last += (info.shape[d] - 1) * tensor.strides[d];
    if (last >= storages.at(tensor.storage) / converter::data_type_size(info.type)) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    if (data[0] == 'P') {
      read_archive(data, size);
    } else {
      read_pickle(data, size);
    }
  } catch (const Error&) {
  }
  return 0;
}
