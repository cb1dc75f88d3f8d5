// What a model's label names mean: "B-PER" is the beginning of a PER.
#ifndef OCTOBERT_ENGINE_LABEL_TAGS_H_
#define OCTOBERT_ENGINE_LABEL_TAGS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octobert {

// The place in an entity that a label marks. A label without a mark is kInside: neighbours of one type are one entity.
enum class Tag : uint8_t { kInside, kBegin, kEnd, kSingle };

struct LabelTag {
  Tag tag = Tag::kInside;
  bool outside = false;   // the label "O" itself (kInside, of a type of its own): no entity
  uint32_t type = 0;      // equal for labels whose tokens can be one entity
  std::string_view name;  // what an entity that begins with this label is called: "PER"
};

// Both give one entry a label, in the model's order. Names are views into the labels.

// Ours: "B-" begins, "I-" is inside; "E-" and "L-" end, "S-" and "U-" are single, "M-" is inside, where the set of
// labels is BIOES, BMES or BILOU, that is where some type has both a "B-" or "I-" and one of these: a lone "E-MAIL"
// is a plain name.
std::vector<LabelTag> label_tags(std::span<const std::string> labels);

// transformers.pipeline's: only "B-" and "I-" are marks, any other label is inside a type of its full name, and an
// entity is called what follows the first hyphen ("S-PER" has the type "S-PER" and the name "PER"). None is outside:
// what is dropped is a matter of ignore_labels alone.
std::vector<LabelTag> reference_label_tags(std::span<const std::string> labels);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_LABEL_TAGS_H_
