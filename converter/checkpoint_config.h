// config.json -> the model's dimensions and arithmetic.
#ifndef OCTOBERT_CONVERTER_CHECKPOINT_CONFIG_H_
#define OCTOBERT_CONVERTER_CHECKPOINT_CONFIG_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "converter/families.h"
#include "engine/format.h"

namespace octobert::converter {

// All fields but label_count and scheme. What would change the function and is not implemented (another activation,
// relative positions, a decoder, weights that someone else quantized in a form that import_quantized.h does not know)
// is refused with Error(kUnsupported); a value of the wrong type or out of range with Error(kFormat), naming `source`
// and the key.
format::ModelConfig model_config(const nlohmann::json& config, const Family& family, const std::string& source,
                                 std::vector<std::string>& warnings);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CHECKPOINT_CONFIG_H_
