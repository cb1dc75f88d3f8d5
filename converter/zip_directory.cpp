#include "converter/zip_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50,
                   kCentralSignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr uint64_t kEndBytes = 22, kLocator64Bytes = 20, kEnd64Bytes = 56, kCentralBytes = 46, kLocalBytes = 30;
constexpr uint64_t kMaxComment = 65535;
constexpr uint64_t kMaxDirectoryBytes = uint64_t{64} << 20;  // a thousand tensors need about 100 KB
constexpr uint16_t kExtraZip64 = 1;

[[noreturn]] void fail(const std::string& source, const std::string& problem) {
  throw Error(ErrorCode::kFormat,
              fmt::format("{}: not a zip archive as torch.save writes it, or truncated: {}", source, problem));
}

template <typename T>
T load(std::span<const std::byte> bytes, size_t offset) {  // the caller knows that it fits
  T value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

struct Archive {
  uint64_t size;
  const ReadAt& read;
  const std::string& source;

  std::vector<std::byte> bytes(uint64_t offset, uint64_t count) const {
    if (offset > size || count > size - offset) fail(source, "a part lies outside the file");
    std::vector<std::byte> result(static_cast<size_t>(count));
    read(offset, result.data(), result.size());
    return result;
  }
};

struct Extent {
  uint64_t offset, bytes, entries;
};

// Where the central directory lies: the record at the end of the file, or that of Zip64 before it.
Extent find_directory(const Archive& archive) {
  if (archive.size < kEndBytes) fail(archive.source, "no end record");
  const uint64_t tail_bytes = std::min(archive.size, kEndBytes + kMaxComment);
  const std::vector<std::byte> tail = archive.bytes(archive.size - tail_bytes, tail_bytes);
  size_t end = tail.size() - kEndBytes;
  while (load<uint32_t>(tail, end) != kEndSignature) {
    if (end == 0) fail(archive.source, "no end record");
    --end;
  }
  Extent extent{load<uint32_t>(tail, end + 16), load<uint32_t>(tail, end + 12), load<uint16_t>(tail, end + 10)};
  const uint64_t position = archive.size - tail_bytes + end;
  if (position < kLocator64Bytes) return extent;
  const std::vector<std::byte> locator = archive.bytes(position - kLocator64Bytes, kLocator64Bytes);
  if (load<uint32_t>(locator, 0) != kLocator64Signature) return extent;
  const std::vector<std::byte> end64 = archive.bytes(load<uint64_t>(locator, 8), kEnd64Bytes);
  if (load<uint32_t>(end64, 0) != kEnd64Signature) fail(archive.source, "no Zip64 end record");
  return {load<uint64_t>(end64, 48), load<uint64_t>(end64, 40), load<uint64_t>(end64, 32)};
}

// The Zip64 field of an entry: the values that did not fit 32 bits, in this order.
void read_zip64(std::span<const std::byte> extra, uint64_t& size, uint64_t& stored, uint64_t& local,
                const std::string& source) {
  constexpr uint64_t kElsewhere = 0xffffffff;
  size_t at = 0;
  while (extra.size() - at >= 4) {
    const auto id = load<uint16_t>(extra, at), length = load<uint16_t>(extra, at + 2);
    at += 4;
    if (length > extra.size() - at) fail(source, "an entry's extra field is cut off");
    if (id == kExtraZip64) {
      std::span<const std::byte> field = extra.subspan(at, length);
      for (uint64_t* value : {&size, &stored, &local}) {
        if (*value != kElsewhere) continue;
        if (field.size() < 8) fail(source, "an entry's Zip64 field is cut off");
        *value = load<uint64_t>(field, 0);
        field = field.subspan(8);
      }
    }
    at += length;
  }
}

struct CentralEntry {
  std::string name;
  uint64_t bytes, local;
  uint64_t record_bytes;
};

CentralEntry read_entry(std::span<const std::byte> rest, const std::string& source) {
  if (rest.size() < kCentralBytes || load<uint32_t>(rest, 0) != kCentralSignature) fail(source, "a damaged directory");
  const uint64_t name_bytes = load<uint16_t>(rest, 28), extra_bytes = load<uint16_t>(rest, 30);
  const uint64_t record = kCentralBytes + name_bytes + extra_bytes + load<uint16_t>(rest, 32);
  if (record > rest.size()) fail(source, "a damaged directory");
  CentralEntry entry{std::string(reinterpret_cast<const char*>(rest.data()) + kCentralBytes, name_bytes),
                     load<uint32_t>(rest, 24), load<uint32_t>(rest, 42), record};
  uint64_t stored = load<uint32_t>(rest, 20);
  read_zip64(rest.subspan(kCentralBytes + name_bytes, extra_bytes), entry.bytes, stored, entry.local, source);
  const bool encrypted = (load<uint16_t>(rest, 8) & 1u) != 0;
  if (encrypted || load<uint16_t>(rest, 10) != 0 || stored != entry.bytes) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{}: entry '{}' is compressed or encrypted: expected it stored, "
                                                     "as torch.save writes it",
                                                     source, entry.name));
  }
  return entry;
}

}  // namespace

std::vector<ZipEntry> read_zip_directory(uint64_t archive_bytes, const ReadAt& read, const std::string& source) {
  const Archive archive{archive_bytes, read, source};
  const Extent extent = find_directory(archive);
  if (extent.bytes > kMaxDirectoryBytes) fail(source, fmt::format("a directory of {} bytes", extent.bytes));
  const std::vector<std::byte> directory = archive.bytes(extent.offset, extent.bytes);
  std::span<const std::byte> rest(directory);
  std::vector<ZipEntry> entries;
  for (uint64_t i = 0; i < extent.entries; ++i) {
    CentralEntry entry = read_entry(rest, source);
    rest = rest.subspan(static_cast<size_t>(entry.record_bytes));
    // The local header repeats name and extra field, with lengths of its own.
    const std::vector<std::byte> local = archive.bytes(entry.local, kLocalBytes);
    if (load<uint32_t>(local, 0) != kLocalSignature) fail(source, fmt::format("no header of '{}'", entry.name));
    const uint64_t offset = entry.local + kLocalBytes + load<uint16_t>(local, 26) + load<uint16_t>(local, 28);
    if (offset > archive.size || entry.bytes > archive.size - offset) {
      fail(source, fmt::format("'{}' lies outside the file", entry.name));
    }
    entries.push_back({std::move(entry.name), offset, entry.bytes});
  }
  return entries;
}

}  // namespace octobert::converter
