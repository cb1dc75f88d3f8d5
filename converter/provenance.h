// Where a packed file comes from: hashes of what was read and the converter's version. No date, no path, no host:
// the same input gives the same bytes everywhere.
#ifndef OCTOBERT_CONVERTER_PROVENANCE_H_
#define OCTOBERT_CONVERTER_PROVENANCE_H_

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace octobert::converter {

class Checkpoint;

// SHA-256 of bytes that come piece by piece. Throws Error(kUnsupported) where libcrypto does not have it.
class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t bytes);
  std::string finish();  // lower-case hex; nothing may follow

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

std::string sha256_of(std::string_view bytes);                  // lower-case hex
std::string sha256_of_file(const std::filesystem::path& path);  // lower-case hex; Error(kIo)

// Files by the name that the listing gives them, sorted by it.
struct SourceHashes {
  std::vector<std::pair<std::string, std::string>> files;  // name, SHA-256
  // SHA-256 of the lines "HASH  NAME\n", so that in the checkpoint's folder
  //   LC_ALL=C sha256sum NAME ... | sha256sum
  // gives the same.
  std::string combined;
};
// Names in the folder of everything that a conversion reads.
std::vector<std::string> source_files(const Checkpoint& checkpoint);
SourceHashes hash_sources(const std::filesystem::path& folder, std::vector<std::string> names);

// Key, value, key, value ...: the provenance section.
std::vector<std::string> provenance_strings(const SourceHashes& sources);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PROVENANCE_H_
