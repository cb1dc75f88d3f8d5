// convert() into memory instead of a file.
#ifndef OCTOBERT_CONVERTER_CONVERT_H_
#define OCTOBERT_CONVERTER_CONVERT_H_

#include <cstddef>
#include <filesystem>
#include <vector>

#include "octobert/converter.h"

namespace octobert::converter {

// The bytes that convert() would write. Throws what it throws.
std::vector<std::byte> convert_to_memory(const std::filesystem::path& checkpoint, const ConvertOptions& options);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CONVERT_H_
