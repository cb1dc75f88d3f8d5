// octobert inspect: what is in a packed file, and whether its bytes are the ones that were written.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/output.h"
#include "engine/model_file.h"
#include "kernels/kernels.h"

namespace octobert::apps {
namespace {

struct InspectFlags {
  std::string model;
  bool json = false, tensors = false;
};

const char* activation_name(uint32_t activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kNone:
      return "none";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
  }
  return "unknown";
}

const char* dtype_name(uint32_t dtype) {
  switch (static_cast<format::DType>(dtype)) {
    case format::DType::kF32:
      return "f32";
    case format::DType::kI8:
      return "i8";
    case format::DType::kI32:
      return "i32";
    case format::DType::kI4:
      return "i4";
    case format::DType::kU4:
      return "u4";
  }
  return "unknown";
}

const char* layout_name(uint32_t layout) {
  switch (static_cast<Layout>(layout)) {
    case Layout::kRowMajor:
      return "rows";
    case Layout::kN16K4:
      return "n16k4";
    case Layout::kN16K1:
      return "n16k1";
    case Layout::kN16K8:
      return "n16k8";
  }
  return "unknown";
}

// Key, value, key, value, ... of a section of strings.
nlohmann::ordered_json key_values(const ModelFile& file, format::SectionType type) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  const std::vector<std::string_view> strings = file.strings(type);
  for (size_t i = 0; i + 1 < strings.size(); i += 2) object[std::string(strings[i])] = strings[i + 1];
  return object;
}

nlohmann::ordered_json config_of(const ModelFile& file) {
  const format::ModelConfig& config = file.config();
  std::map<std::string, int> products;
  for (const format::ProductEntry& product : file.products()) ++products[format::scheme_name(product.scheme)];
  return {{"family", config.family == 0 ? "bert" : "unknown"},
          {"scheme", format::scheme_name(config.scheme)},
          {"products", products},
          {"hidden_size", config.hidden_size},
          {"layers", config.layer_count},
          {"heads", config.head_count},
          {"intermediate_size", config.intermediate_size},
          {"vocab_size", config.vocab_size},
          {"max_positions", config.max_positions},
          {"token_types", config.type_count},
          {"activation", activation_name(config.activation)},
          {"layer_norm_eps", config.layer_norm_eps}};
}

nlohmann::ordered_json tensors_of(const ModelFile& file) {
  auto list = nlohmann::ordered_json::array();
  for (const format::TensorEntry& tensor : file.tensors()) {
    nlohmann::ordered_json dims = {tensor.dims[0]};
    if (tensor.rank == 2) dims.push_back(tensor.dims[1]);
    list.push_back({{"name", tensor.name},
                    {"dtype", dtype_name(tensor.dtype)},
                    {"layout", layout_name(tensor.layout)},
                    {"shape", dims},
                    {"bytes", tensor.size}});
  }
  return list;
}

nlohmann::ordered_json describe(const ModelFile& file, bool tensors) {
  nlohmann::ordered_json json = {{"file", file.source()},
                                 {"bytes", file.size()},
                                 {"format_version", file.format_version()},
                                 {"numerics_version", file.numerics_version()},
                                 {"config", config_of(file)},
                                 {"labels", file.labels()},
                                 {"provenance", key_values(file, format::SectionType::kProvenance)},
                                 {"report", key_values(file, format::SectionType::kQuantReport)}};
  for (const format::SectionEntry& section : file.sections()) {
    json["sections"].push_back({{"name", section.name},
                                {"type", section.type},
                                {"required", (section.flags & format::kSectionRequired) != 0},
                                {"offset", section.offset},
                                {"bytes", section.size},
                                {"checksum", fmt::format("{:016x}", section.checksum)},
                                {"checksum_ok", file.checksum_matches(section)}});
  }
  if (tensors) json["tensors"] = tensors_of(file);
  return json;
}

std::string plain(const nlohmann::ordered_json& value) {
  return value.is_string() ? printable(value.get<std::string>()) : value.dump();
}

std::string as_text(const nlohmann::ordered_json& json) {
  std::string out =
      fmt::format("{}: {} bytes, format {}, numerics {}\n", plain(json["file"]), json["bytes"].get<size_t>(),
                  json["format_version"].get<int>(), json["numerics_version"].get<int>());
  for (const char* part : {"config", "provenance", "report"}) {
    if (!json[part].empty()) out += fmt::format("{}:\n", part);
    for (const auto& [key, value] : json[part].items()) out += fmt::format("  {:<34} {}\n", key, plain(value));
  }
  out += "labels:";
  for (const auto& label : json["labels"]) out += " " + plain(label);
  out +=
      fmt::format("\nsections:\n  {:<20} {:>5} {:>12} {:>12}  {:<16}\n", "name", "type", "offset", "bytes", "checksum");
  for (const auto& s : json["sections"]) {
    out += fmt::format("  {:<20} {:>5} {:>12} {:>12}  {} {}\n", plain(s["name"]), s["type"].get<uint32_t>(),
                       s["offset"].get<uint64_t>(), s["bytes"].get<uint64_t>(), plain(s["checksum"]),
                       s["checksum_ok"].get<bool>() ? "ok" : "DIFFERS");
  }
  if (json.contains("tensors")) out += "tensors:\n";
  for (const auto& t : json.value("tensors", nlohmann::ordered_json::array())) {
    out += fmt::format("  {:<36} {:<4} {:<6} {:>14} {:>12}\n", plain(t["name"]), plain(t["dtype"]), plain(t["layout"]),
                       t["shape"].dump(), t["bytes"].get<uint64_t>());
  }
  return out;
}

int run_inspect(const InspectFlags& flags) {
  const ModelFile file = ModelFile::open(flags.model, {.allow_other_numerics = true});
  const nlohmann::ordered_json json = describe(file, flags.tensors);
  Output output;
  output.text() = flags.json ? json_line(json) : as_text(json);
  output.flush();
  file.verify();  // throws, naming the section or tensor
  return kExitOk;
}

constexpr const char* kExamples = R"(Examples:
  octobert inspect model.octo
  octobert inspect model.octo --tensors
  octobert inspect model.octo --json | jq .config

Exit status: 0; 1 if the file cannot be opened or a checksum differs; 2 for a wrong command line.)";

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "What is in a packed file; its checksums");
  command->footer(kExamples);
  command->add_option("MODEL", flags->model, "Packed model")->required()->type_name("M.octo");
  command->add_flag("--tensors", flags->tensors, "List the tensors too");
  command->add_flag("--json", flags->json, "As a JSON object");
  command->callback([flags, &action] { action = [flags] { return run_inspect(*flags); }; });
}

}  // namespace octobert::apps
