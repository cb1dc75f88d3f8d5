#include "engine/label_tags.h"

#include <algorithm>
#include <optional>

namespace octobert {
namespace {

// The letter before a hyphen at the second place; 0 if there is none.
char mark_of(std::string_view label) { return label.size() >= 2 && label[1] == '-' ? label[0] : '\0'; }

bool has_label(std::span<const std::string> labels, char mark, std::string_view type) {
  return std::any_of(labels.begin(), labels.end(), [&](const std::string& label) {
    return mark_of(label) == mark && std::string_view(label).substr(2) == type;
  });
}

// Whether some type has a "B-" or "I-" as well as an `end` or `single`.
bool scheme_has(std::span<const std::string> labels, char end, char single) {
  return std::any_of(labels.begin(), labels.end(), [&](const std::string& label) {
    if (mark_of(label) != end && mark_of(label) != single) return false;
    const std::string_view type = std::string_view(label).substr(2);
    return has_label(labels, 'B', type) || has_label(labels, 'I', type);
  });
}

// What a mark means in a set of labels; nothing if it is a part of the name there.
std::optional<Tag> read_mark(char mark, bool bioes, bool bilou) {
  switch (mark) {
    case 'B':
      return Tag::kBegin;
    case 'I':
      return Tag::kInside;
    case 'M':
      return bioes ? std::optional(Tag::kInside) : std::nullopt;
    case 'E':
      return bioes ? std::optional(Tag::kEnd) : std::nullopt;
    case 'S':
      return bioes ? std::optional(Tag::kSingle) : std::nullopt;
    case 'L':
      return bilou ? std::optional(Tag::kEnd) : std::nullopt;
    case 'U':
      return bilou ? std::optional(Tag::kSingle) : std::nullopt;
    default:
      return std::nullopt;
  }
}

// Number of the name in `types`, where it is put if it is new.
uint32_t type_number(std::vector<std::string_view>& types, std::string_view name) {
  const auto it = std::find(types.begin(), types.end(), name);
  const auto number = static_cast<uint32_t>(it - types.begin());
  if (it == types.end()) types.push_back(name);
  return number;
}

}  // namespace

std::vector<LabelTag> label_tags(std::span<const std::string> labels) {
  const bool bioes = scheme_has(labels, 'E', 'S');
  const bool bilou = scheme_has(labels, 'L', 'U');
  std::vector<LabelTag> tags;
  std::vector<std::string_view> types;
  for (const std::string& label : labels) {
    const std::optional<Tag> mark = read_mark(mark_of(label), bioes, bilou);
    LabelTag tag;
    tag.tag = mark.value_or(Tag::kInside);
    tag.name = std::string_view(label).substr(mark ? 2 : 0);
    tag.outside = label == "O";
    // Type 0 is the outside's; the others' numbers come after it.
    tag.type = tag.outside ? 0 : 1 + type_number(types, tag.name);
    tags.push_back(tag);
  }
  return tags;
}

std::vector<LabelTag> reference_label_tags(std::span<const std::string> labels) {
  std::vector<LabelTag> tags;
  std::vector<std::string_view> types;
  for (const std::string& label : labels) {
    const std::string_view view = label;
    const char mark = mark_of(label);
    LabelTag tag;
    tag.tag = mark == 'B' ? Tag::kBegin : Tag::kInside;
    tag.type = type_number(types, mark == 'B' || mark == 'I' ? view.substr(2) : view);
    tag.name = view.substr(view.find('-') + 1);  // npos + 1 is 0: the whole label
    tags.push_back(tag);
  }
  return tags;
}

}  // namespace octobert
