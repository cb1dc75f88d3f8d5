#include "converter/provenance.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "converter/checkpoint.h"
#include "converter/input_file.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

void check(bool ok) {
  if (!ok) throw Error(ErrorCode::kUnsupported, "libcrypto: SHA-256 is not available on this system");
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
  check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void Sha256::update(const void* data, size_t bytes) { check(EVP_DigestUpdate(context_.get(), data, bytes) == 1); }

std::string Sha256::finish() {
  std::array<unsigned char, 32> digest{};
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

std::string sha256_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.finish();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  const InputFile file(path);
  constexpr uint64_t kChunk = uint64_t{1} << 20;
  std::vector<char> buffer(static_cast<size_t>(std::min(kChunk, file.size())));
  Sha256 hash;
  for (uint64_t offset = 0; offset < file.size(); offset += kChunk) {
    const auto bytes = static_cast<size_t>(std::min(kChunk, file.size() - offset));
    file.read(offset, buffer.data(), bytes);
    hash.update(buffer.data(), bytes);
  }
  return hash.finish();
}

std::vector<std::string> source_files(const Checkpoint& checkpoint) {
  std::vector<std::string> names = checkpoint.files();
  for (const char* name :
       {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(checkpoint.folder() / name, error)) names.emplace_back(name);
  }
  return names;
}

SourceHashes hash_sources(const std::filesystem::path& folder, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  SourceHashes sources;
  Sha256 combined;
  for (const std::string& name : names) {
    sources.files.emplace_back(name, sha256_of_file(folder / name));
    const std::string line = fmt::format("{}  {}\n", sources.files.back().second, name);
    combined.update(line.data(), line.size());
  }
  sources.combined = combined.finish();
  return sources;
}

std::vector<std::string> provenance_strings(const SourceHashes& sources) {
  std::vector<std::string> strings = {"converter", fmt::format("octobert {}", OCTOBERT_VERSION), "source.sha256",
                                      sources.combined};
  for (const auto& [name, hash] : sources.files) {
    strings.push_back(fmt::format("source.{}.sha256", name));
    strings.push_back(hash);
  }
  return strings;
}

}  // namespace octobert::converter
