// convert() into memory instead of a file, or with what its calibration has seen.
#ifndef OCTOBERT_CONVERTER_CONVERT_H_
#define OCTOBERT_CONVERTER_CONVERT_H_

#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "converter/calibrate.h"
#include "converter/policy.h"
#include "octobert/converter.h"

namespace octobert::converter {

// What a caller has at hand already, instead of files that the options name. Null: the options count.
struct ConvertInputs {
  const Policy* policy = nullptr;
  const Calibration* calibration = nullptr;  // of this checkpoint; with Hessians if GPTQ is to be done
};

// The bytes that convert() would write, and in `report`, if it is not null, what it would return. Throws what it
// throws.
std::vector<std::byte> convert_to_memory(const std::filesystem::path& checkpoint, const ConvertOptions& options,
                                         const ConvertInputs& inputs = {}, ConvertReport* report = nullptr);

// convert(), and what its calibration has seen: null if it had none. Throws what convert() throws.
ConvertReport convert_and_show(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                               const ConvertOptions& options, std::unique_ptr<Calibration>& seen);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CONVERT_H_
