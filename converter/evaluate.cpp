#include "converter/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "converter/labels.h"
#include "converter/text_lines.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr std::string_view kColumnSeparators = " \t";

struct Tag {
  bool begins = false;    // B-, S-, U-
  std::string_view type;  // empty for O
};

Tag parse_tag(std::string_view label) {
  if (label == "O") return {};
  if (label.size() < 2 || label[1] != '-') return {false, label};
  switch (label[0]) {
    case 'B':
    case 'S':
    case 'U':
      return {true, label.substr(2)};
    case 'I':
    case 'E':
    case 'L':
      return {false, label.substr(2)};
    default:
      return {false, label};
  }
}

size_t window(const Engine& engine) {
  const auto positions = static_cast<size_t>(engine.info().max_positions);
  const size_t configured = engine.tokenizer().model_max_length();
  return configured == 0 ? positions : std::min(positions, configured);
}

// Appends a text's windows, and where its words begin.
void append(const Encodings& encodings, size_t words, EncodedTexts& out) {
  std::vector<int32_t>& first_pieces = out.first_pieces.emplace_back(words, -1);
  for (size_t i = 0; i < encodings.count; ++i) {
    const Encoding& chunk = encodings.chunks[i];
    for (size_t token = 0; token < chunk.size(); ++token) {
      if (chunk.special[token] || chunk.words[token] < 0) continue;
      const auto word = static_cast<size_t>(chunk.words[token]);
      if (word >= first_pieces.size()) first_pieces.resize(word + 1, -1);
      if (first_pieces[word] < 0) first_pieces[word] = static_cast<int32_t>(out.ids.size() + token);
    }
    out.ids.insert(out.ids.end(), chunk.ids.begin(), chunk.ids.end());
    out.offsets.push_back(static_cast<int32_t>(out.ids.size()));
  }
}

std::set<std::string_view> types_of(std::span<const std::string> labels) {
  std::set<std::string_view> types;
  for (const std::string& label : labels) {
    if (const Tag tag = parse_tag(label); !tag.type.empty()) types.insert(tag.type);
  }
  return types;
}

// "B-DRUG, I-DRUG", "B-A, B-B, B-C, B-D, B-E and 7 more".
std::string some_of(const std::set<std::string_view>& names) {
  constexpr size_t kMost = 5;  // what a message of one line has room for
  const auto end = std::next(names.begin(), static_cast<ptrdiff_t>(std::min(names.size(), kMost)));
  const std::string first = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  return names.size() <= kMost ? first : fmt::format("{} and {} more", first, names.size() - kMost);
}

// Of a model without names for its labels. A file may use its LABEL_n, and then means them.
std::string drop_other_labels(const std::string& file, std::span<Sentence> sentences,
                              std::span<const std::string> model_labels, bool for_f1) {
  std::set<std::string_view> other;
  for (const Sentence& sentence : sentences) other.insert(sentence.labels.begin(), sentence.labels.end());
  for (const std::string& label : model_labels) other.erase(label);
  if (other.empty()) return "";
  const std::string why =
      fmt::format("{}: its labels ({}) can't be compared with the model's, which are numbers without names ({} to {})",
                  file, some_of(other), model_labels.front(), model_labels.back());
  const std::string remedy = "convert and tune take the names, one a line in the order of the numbers: --labels FILE";
  if (for_f1) throw Error(ErrorCode::kInvalidInput, fmt::format("{}: there is no F1. {}", why, remedy));
  for (Sentence& sentence : sentences) sentence.labels.clear();
  return fmt::format("{}: agreement with the float model is measured, F1 is not. {}", why, remedy);
}

}  // namespace

bool read_conll_sentence(TextLines& lines, Sentence& sentence) {
  sentence = {};
  while (const auto line = lines.next()) {
    if (line->empty() || line->starts_with("-DOCSTART-")) {
      if (sentence.words.empty()) continue;
      return true;
    }
    const size_t first = line->find_first_of(kColumnSeparators), last = line->find_last_of(kColumnSeparators);
    if (first == std::string_view::npos || first == 0 || last + 1 == line->size()) {
      lines.fail(fmt::format("expected a token, a tab and a label, found '{}'", line->substr(0, 80)));
    }
    sentence.words.emplace_back(line->substr(0, first));
    sentence.labels.emplace_back(line->substr(last + 1));
  }
  return !sentence.words.empty();
}

std::vector<Sentence> read_conll(const std::filesystem::path& path) {
  TextLines lines(path, kMaxCorpusBytes);
  std::vector<Sentence> sentences;
  for (Sentence sentence; read_conll_sentence(lines, sentence);) sentences.push_back(std::move(sentence));
  return sentences;
}

std::string align_labels(const std::string& file, std::span<Sentence> sentences,
                         std::span<const std::string> model_labels, bool for_f1) {
  if (are_default_names(model_labels)) return drop_other_labels(file, sentences, model_labels, for_f1);
  const std::set<std::string_view> known = types_of(model_labels);
  std::set<std::string_view> unknown_labels;
  size_t entities = 0, unknown = 0;
  for (const Sentence& sentence : sentences) {
    for (const std::string& label : sentence.labels) {
      const Tag tag = parse_tag(label);
      if (!tag.type.empty() && !known.contains(tag.type)) unknown_labels.insert(label);
    }
    const std::vector<std::string_view> labels(sentence.labels.begin(), sentence.labels.end());
    for (const EntitySpan& span : entity_spans(labels)) {
      ++entities;
      unknown += known.contains(span.type) ? 0 : 1;
    }
  }
  if (unknown == 0) return "";
  if (unknown == entities) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("{}: no entity in it is of a type that the model has ({}): its labels are {}. If the model "
                            "means the same by other names, give it these, one a line in the order of its classes "
                            "(--labels FILE of convert and tune); agreement with the float model needs no labels "
                            "(--text)",
                            file, some_of(known), some_of(unknown_labels)));
  }
  return fmt::format(
      "{}: {} label{} of types that the model does not have: {}. {} of {} entities can't be found and count as missed: "
      "recall and F1 are lower for it",
      file, unknown_labels.size(), unknown_labels.size() == 1 ? "" : "s", some_of(unknown_labels), unknown, entities);
}

std::vector<EntitySpan> entity_spans(std::span<const std::string_view> labels) {
  std::vector<EntitySpan> spans;
  bool open = false;
  for (size_t i = 0; i < labels.size(); ++i) {
    const Tag tag = parse_tag(labels[i]);
    if (tag.type.empty()) {
      open = false;
      continue;
    }
    if (open && !tag.begins && spans.back().type == tag.type) {
      spans.back().end = i + 1;
      continue;
    }
    spans.push_back({i, i + 1, std::string(tag.type)});
    open = true;
  }
  return spans;
}

bool contains(std::span<const EntitySpan> spans, const EntitySpan& span) {
  const auto found = std::lower_bound(spans.begin(), spans.end(), span.begin,
                                      [](const EntitySpan& a, size_t begin) { return a.begin < begin; });
  return found != spans.end() && *found == span;
}

void EntityScores::add(std::span<const std::string_view> expected, std::span<const std::string_view> found) {
  const std::vector<EntitySpan> expected_spans = entity_spans(expected), found_spans = entity_spans(found);
  for (const EntitySpan& span : expected_spans) {
    ++all.expected;
    ++by_type[span.type].expected;
  }
  for (const EntitySpan& span : found_spans) {
    const bool correct = contains(expected_spans, span);
    for (EntityCounts* counts : {&all, &by_type[span.type]}) {
      ++counts->found;
      counts->correct += correct ? 1 : 0;
    }
  }
}

void EntityCounts::add(const EntityCounts& other) {
  expected += other.expected;
  found += other.found;
  correct += other.correct;
}

void EntityScores::add(const EntityScores& other) {
  all.add(other.all);
  for (const auto& [type, counts] : other.by_type) by_type[type].add(counts);
}

EncodedTexts encode_sentences(const Engine& engine, std::span<const Sentence> sentences) {
  TokenizeOptions options;
  options.max_length = window(engine);
  EncodedTexts encoded;
  Encodings encodings;
  std::vector<std::string_view> words;
  for (const Sentence& sentence : sentences) {
    words.assign(sentence.words.begin(), sentence.words.end());
    engine.tokenizer().encode_words(words, options, encodings);
    append(encodings, words.size(), encoded);
  }
  return encoded;
}

EncodedTexts encode_texts(const Engine& engine, std::span<const std::string> texts) {
  TokenizeOptions options;
  options.max_length = window(engine);
  EncodedTexts encoded;
  Encodings encodings;
  for (const std::string& text : texts) {
    engine.tokenizer().encode(text, options, encodings);
    append(encodings, 0, encoded);
  }
  return encoded;
}

std::vector<std::vector<int32_t>> word_labels(const EncodedTexts& encoded, std::span<const float> logits,
                                              size_t label_count) {
  std::vector<std::vector<int32_t>> labels;
  for (const std::vector<int32_t>& first_pieces : encoded.first_pieces) {
    std::vector<int32_t>& of_text = labels.emplace_back();
    for (const int32_t piece : first_pieces) {
      if (piece < 0) {
        of_text.push_back(-1);
        continue;
      }
      const std::span<const float> scores = logits.subspan(static_cast<size_t>(piece) * label_count, label_count);
      // The first of equals, as the reference's argmax.
      of_text.push_back(static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin()));
    }
  }
  return labels;
}

}  // namespace octobert::converter
