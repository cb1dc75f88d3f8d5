#include "converter/policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "converter/json.h"
#include "converter/provenance.h"
#include "kernels/layout.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::Scheme;
using Json = nlohmann::json;

[[noreturn]] void fail(const std::string& source, const std::string& field, const std::string& expected,
                       const Json& found) {
  throw Error(ErrorCode::kFormat,
              fmt::format("{}: {}: expected {}, found {}", source, field, expected,
                          found.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80)));
}

std::string text(const Json& value, const std::string& source, const std::string& field) {
  if (!value.is_string()) fail(source, field, "a string", value);
  return value.get<std::string>();
}

bool boolean(const Json& value, const std::string& source, const std::string& field) {
  if (!value.is_boolean()) fail(source, field, "true or false", value);
  return value.get<bool>();
}

Scheme scheme_of(const Json& value, const std::string& source, const std::string& field) {
  return parse_scheme(text(value, source, field), source + ": " + field);
}

void read_calibration(const Json& json, const std::string& source, Policy& policy) {
  if (!json.is_object()) fail(source, "calibration", "an object", json);
  CalibrationSettings& settings = policy.calibration.emplace();
  for (const auto& [key, value] : json.items()) {
    const std::string field = "calibration." + key;
    if (key == "texts") {
      policy.calibration_texts = text(value, source, field);
    } else if (key == "samples") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() == 0) fail(source, field, "a number from 1 on", value);
      settings.samples = value.get<size_t>();
    } else if (key == "observer") {
      settings.observer = parse_observer(text(value, source, field));
    } else if (key == "smooth_quant") {
      if (value == kSmoothByProduct) {
        settings.smooth_quant.reset();
        continue;
      }
      if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= 1)) {
        fail(source, field, fmt::format("a number from 0 to 1, or \"{}\"", kSmoothByProduct), value);
      }
      settings.smooth_quant = value.get<double>();
    } else if (key == "equalize") {
      settings.equalize = boolean(value, source, field);
    } else if (key == "gptq") {
      settings.gptq = boolean(value, source, field);
    } else if (key == "bias_correction") {
      settings.bias_correction = boolean(value, source, field);
    } else if (key == "hold_out") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() == 1) fail(source, field, "0 or 2 and more", value);
      settings.hold_out = value.get<size_t>();
    } else {
      throw Error(ErrorCode::kFormat, fmt::format("{}: unknown field '{}'", source, field));
    }
  }
}

void read_group_size(const Json& value, const std::string& source, Policy& policy) {
  if (!value.is_number_integer() || !is_group_size(value.get<int64_t>())) {
    fail(source, "group_size", group_size_rule(), value);
  }
  policy.group_size = value.get<int>();
}

}  // namespace

Scheme parse_scheme(std::string_view name, const std::string& what) {
  for (const Scheme scheme : {Scheme::kFloat, Scheme::kWeightOnly, Scheme::kDynamic, Scheme::kStatic,
                              Scheme::kWeightOnlyInt4, Scheme::kCodebook}) {
    if (name == format::scheme_name(static_cast<uint32_t>(scheme))) return scheme;
  }
  throw Error(ErrorCode::kInvalidInput,
              fmt::format("{}: '{}' is unknown: expected static, dynamic, weight-only, weight-only-int4, "
                          "weight-only-codebook or float",
                          what, name));
}

bool is_group_size(int64_t n) { return n > 0 && n <= int64_t{kMaxReductionDepth} && n % int64_t{kGroupDepth4} == 0; }
std::string group_size_rule() { return fmt::format("a multiple of {} up to {}", kGroupDepth4, kMaxReductionDepth); }

Policy read_policy(const std::filesystem::path& path) { return parse_policy(read_utf8_file(path), path.string()); }

Policy parse_policy(std::string_view json_text, const std::string& source) {
  const Json json = parse_json_object(json_text, source);
  Policy policy;
  if (!json.contains("format")) throw Error(ErrorCode::kFormat, source + ": no field 'format'");
  for (const auto& [key, value] : json.items()) {
    if (key == "format") {
      if (value != 1) fail(source, key, "1", value);
    } else if (key == "default") {
      policy.default_scheme = scheme_of(value, source, key);
    } else if (key == "group_size") {
      read_group_size(value, source, policy);
    } else if (key == "products") {
      if (!value.is_object()) fail(source, key, "an object", value);
      for (const auto& [name, scheme] : value.items()) {
        policy.products.emplace(name, scheme_of(scheme, source, "products." + name));
      }
    } else if (key == "calibration") {
      read_calibration(value, source, policy);
    } else if (key == "certificate") {
      if (!value.is_object()) fail(source, key, "an object", value);
      for (const auto& [name, entry] : value.items()) {
        policy.certificate.emplace(name, text(entry, source, "certificate." + name));
      }
    } else if (key == "certificate_of") {
      policy.certificate_of = text(value, source, key);
    } else {
      throw Error(ErrorCode::kFormat, fmt::format("{}: unknown field '{}'", source, key));
    }
  }
  return policy;
}

std::string policy_json(const Policy& policy) {
  nlohmann::ordered_json json = {{"format", 1}};
  const auto name = [](Scheme scheme) { return format::scheme_name(static_cast<uint32_t>(scheme)); };
  if (policy.default_scheme) json["default"] = name(*policy.default_scheme);
  json["group_size"] = policy.group_size;
  json["products"] = nlohmann::ordered_json::object();
  for (const auto& [product, scheme] : policy.products) json["products"][product] = name(scheme);
  if (policy.calibration) {
    const CalibrationSettings& settings = *policy.calibration;
    json["calibration"] = {{"texts", policy.calibration_texts},
                           {"samples", settings.samples},
                           {"observer", observer_name(settings.observer)},
                           {"smooth_quant", settings.smooth_quant ? nlohmann::ordered_json(*settings.smooth_quant)
                                                                  : nlohmann::ordered_json(kSmoothByProduct)},
                           {"equalize", settings.equalize},
                           {"gptq", settings.gptq},
                           {"bias_correction", settings.bias_correction}};
    if (settings.hold_out > 0) json["calibration"]["hold_out"] = settings.hold_out;
  }
  for (const auto& [key, value] : policy.certificate) json["certificate"][key] = value;
  if (!policy.certificate_of.empty()) json["certificate_of"] = policy.certificate_of;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string certificate_subject(const Policy& policy, const std::string& checkpoint_sha256,
                                std::span<const std::string> labels) {
  Policy bare = policy;
  bare.certificate.clear();
  bare.certificate_of.clear();
  return sha256_of(fmt::format("{}\n{}\n{}", checkpoint_sha256, fmt::join(labels, "\n"), policy_json(bare)));
}

}  // namespace octobert::converter
