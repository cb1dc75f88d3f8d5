#include "converter/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr uint64_t kMaxPickleBytes = uint64_t{4} << 20;  // BERT-large: 60 KB
constexpr std::string_view kPickleName = "/data.pkl";

// torch.save before 1.6: a pickle of the number 0x1950a86a20f9469cfc6c first.
void refuse_old_form(const InputFile& file) {
  unsigned char start[2] = {};
  if (file.size() >= sizeof(start)) file.read(0, start, sizeof(start));
  if (start[0] == 0x80 && start[1] <= 5) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: written by torch.save in its form before PyTorch 1.6, which is not supported by this "
                            "version: load it and save it again with torch.save, or better as safetensors",
                            file.name()));
  }
}

}  // namespace

TorchFile::TorchFile(const std::filesystem::path& path) : file_(path) {
  refuse_old_form(file_);
  const ReadAt read = [this](uint64_t offset, void* dst, size_t bytes) { file_.read(offset, dst, bytes); };
  const std::vector<ZipEntry> entries = read_zip_directory(file_.size(), read, name());
  const auto pickle = std::find_if(entries.begin(), entries.end(),
                                   [](const ZipEntry& entry) { return entry.name.ends_with(kPickleName); });
  if (pickle == entries.end()) throw Error(ErrorCode::kFormat, fmt::format("{}: no entry NAME/data.pkl", name()));
  if (pickle->bytes > kMaxPickleBytes) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: {}: {} bytes, expected at most {}", name(), pickle->name,
                                                pickle->bytes, kMaxPickleBytes));
  }
  const std::string root = pickle->name.substr(0, pickle->name.size() - kPickleName.size());
  std::map<std::string, uint64_t> storage_bytes;
  for (const ZipEntry& entry : entries) {
    if (entry.name == root + "/byteorder") {
      std::string order(static_cast<size_t>(std::min<uint64_t>(entry.bytes, 16)), '\0');
      file_.read(entry.offset, order.data(), order.size());
      if (order != "little") {
        throw Error(ErrorCode::kUnsupported, fmt::format("{}: byte order '{}': expected little", name(), order));
      }
    }
    if (!entry.name.starts_with(root + "/data/")) continue;
    const std::string key = entry.name.substr(root.size() + 6);
    storage_bytes.emplace(key, entry.bytes);
    storage_offset_.emplace(key, entry.offset);
  }
  std::string bytes(static_cast<size_t>(pickle->bytes), '\0');
  file_.read(pickle->offset, bytes.data(), bytes.size());
  state_ = read_torch_state(bytes, storage_bytes, name());
}

void TorchFile::read_elements(const TensorInfo& info, uint64_t first, uint64_t count, std::byte* dst) const {
  const TorchTensor& tensor = state_.tensors[static_cast<size_t>(&info - state_.infos.data())];
  const size_t width = data_type_size(info.type);
  if (count == 0) return;  // pointers to nothing are null, which memcpy must not get
  if (tensor.storage.empty()) {
    std::memcpy(dst, tensor.inline_bytes.data() + first * width, static_cast<size_t>(count) * width);
    return;
  }
  // The innermost dimensions that lie one element after the other make a block; a transposed tensor, which is rare, has
  // blocks of one.
  uint64_t block = 1;
  for (size_t i = info.shape.size(); i-- > 0 && (tensor.strides[i] == block || info.shape[i] == 1);) {
    block *= info.shape[i];
  }
  const uint64_t base = storage_offset_.at(tensor.storage);
  for (uint64_t done = 0; done < count;) {
    uint64_t rest = first + done, place = tensor.offset;
    const uint64_t run = std::min(block - rest % block, count - done);
    for (size_t i = info.shape.size(); i-- > 0; rest /= info.shape[i]) {
      place += rest % info.shape[i] * tensor.strides[i];
    }
    file_.read(base + place * width, dst + done * width, static_cast<size_t>(run) * width);
    done += run;
  }
}

}  // namespace octobert::converter
