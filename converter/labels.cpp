#include "converter/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "converter/text_lines.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr size_t kMaxLabels = 65536;  // the width bound of families.cpp
constexpr size_t kMaxLabelBytes = size_t{64} << 20;
constexpr std::string_view kDefaultPrefix = "LABEL_";

std::optional<uint32_t> parse_index(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> default_labels(const nlohmann::json& config, const std::string& source) {
  uint64_t count = 2;
  if (const auto found = config.find("num_labels"); found != config.end() && !found->is_null()) {
    if (!found->is_number_unsigned() || *found == 0 || *found > kMaxLabels) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: num_labels: expected an integer from 1 to {}, found {}", source,
                                                  kMaxLabels, found->dump().substr(0, 80)));
    }
    count = found->get<uint64_t>();
  }
  std::vector<std::string> labels;
  for (uint64_t i = 0; i < count; ++i) labels.push_back(fmt::format("{}{}", kDefaultPrefix, i));
  return labels;
}

bool is_default_name(std::string_view label) {
  return label.starts_with(kDefaultPrefix) && parse_index(label.substr(kDefaultPrefix.size())).has_value();
}

// The type that "B-PER" stands for, as the reference's pipeline cuts it: all after the first '-'.
std::string_view entity_type(std::string_view label) { return label.substr(label.find('-') + 1); }

}  // namespace

std::vector<std::string> labels_of_config(const nlohmann::json& config, const std::string& source) {
  const auto found = config.find("id2label");
  if (found == config.end() || found->is_null()) return default_labels(config, source);
  if (!found->is_object() || found->empty()) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: id2label: expected an object with one entry a label, found {}",
                                                source, found->dump().substr(0, 80)));
  }
  std::map<uint32_t, std::string> by_index;
  for (const auto& [key, value] : found->items()) {
    const std::optional<uint32_t> index = parse_index(key);
    if (!index) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: id2label: expected integers as keys, found '{}'", source, key));
    }
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: id2label[{}]: expected a non-empty string, found {}", source,
                                                  key, value.dump().substr(0, 80)));
    }
    if (!by_index.emplace(*index, value.get<std::string>()).second) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: id2label: index {} appears twice", source, *index));
    }
  }
  std::vector<std::string> labels;
  for (auto& [index, label] : by_index) {
    if (index != labels.size()) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: id2label: no entry for {}, but one for {}: expected every index "
                                                  "from 0",
                                                  source, labels.size(), index));
    }
    labels.push_back(std::move(label));
  }
  return labels;
}

std::vector<std::string> labels_of_file(const std::filesystem::path& path) {
  std::vector<std::string> labels;
  TextLines lines(path, kMaxLabelBytes);
  while (const auto label = lines.next()) {
    if (label->empty()) lines.fail("expected a label's name, found an empty line");
    if (label->find_first_of(" \t") == 0 || label->find_last_of(" \t") == label->size() - 1) {
      lines.fail(fmt::format("expected a label's name, found '{}', which begins or ends with white space", *label));
    }
    labels.emplace_back(*label);
  }
  if (labels.empty() || labels.size() > kMaxLabels) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: expected 1 to {} names, one a line, found {}", path.string(),
                                                kMaxLabels, labels.size()));
  }
  return labels;
}

bool are_default_names(std::span<const std::string> labels) {
  return !labels.empty() && std::all_of(labels.begin(), labels.end(), is_default_name);
}

std::vector<std::string> label_warnings(const std::vector<std::string>& labels) {
  std::vector<std::string> warnings;
  if (are_default_names(labels)) {
    warnings.push_back(
        fmt::format("the checkpoint names its labels {} .. only: give their names with --labels FILE", labels.front()));
  }
  std::map<std::string_view, int> seen;
  for (const std::string& label : labels) {
    if (++seen[label] == 2) warnings.push_back(fmt::format("label '{}' stands for more than one class", label));
    if (label != "O" && entity_type(label) == "O") {
      warnings.push_back(
          fmt::format("label '{}' groups to 'O', which is ignored by default: its entities will not be "
                      "shown",
                      label));
    }
  }
  return warnings;
}

}  // namespace octobert::converter
