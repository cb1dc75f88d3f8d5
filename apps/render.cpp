#include "apps/render.h"

#include <algorithm>
#include <array>

#include "apps/output.h"

namespace octobert::apps {
namespace {

std::span<const Entity> entities_of(const Analysis& analysis) {
  return std::span(analysis.entities).first(analysis.entity_count);
}

void append_label_scores(const Entity& entity, std::span<const std::string> labels, std::string& out) {
  if (entity.label_scores.empty()) return;
  out += ",\"label_scores\":{";
  for (size_t i = 0; i < labels.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, labels[i]);
    out += ':';
    append_json_float(out, entity.label_scores[i]);
  }
  out += '}';
}

void append_own_entity(const Entity& entity, std::string& out) {
  out += "{\"label\":";
  append_json_string(out, entity.label);
  out += ",\"score\":";
  append_json_float(out, entity.score);
  out += ",\"text\":";
  append_json_string(out, entity.text);
  out += ",\"bytes\":";
  append_json_span(out, entity.bytes);
  out += ",\"codepoints\":";
  append_json_span(out, entity.codepoints);
  out += ",\"utf16\":";
  append_json_span(out, entity.utf16);
}

// The field names of transformers.pipeline("token-classification").
void append_reference_entity(const Entity& entity, Strategy strategy, std::string& out) {
  out += strategy == Strategy::kNone ? "{\"entity\":" : "{\"entity_group\":";
  append_json_string(out, entity.label);
  out += ",\"score\":";
  append_json_float(out, entity.score);
  if (strategy == Strategy::kNone) out += ",\"index\":" + std::to_string(entity.index);
  out += ",\"word\":";
  append_json_string(out, entity.word);
  out += ",\"start\":" + std::to_string(entity.codepoints.begin);
  out += ",\"end\":" + std::to_string(entity.codepoints.end);
}

// The words that came in, their labels and scores: three arrays of one length.
void append_words(const InputText& item, const Analysis& analysis, std::string& out) {
  const auto list = [&out](const char* name, size_t count, auto&& append_one) {
    out += name;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) out += ',';
      append_one(i);
    }
    out += "],";
  };
  list("\"words\":[", item.words.size(), [&](size_t i) { append_json_string(out, item.words[i]); });
  list("\"labels\":[", analysis.words.size(), [&](size_t i) { append_json_string(out, analysis.words[i].label); });
  list("\"scores\":[", analysis.words.size(), [&](size_t i) { append_json_float(out, analysis.words[i].score); });
}

void append_column(std::string_view word, std::string_view label, std::string& out) {
  const size_t begin = out.size();
  out += word;
  const auto is_break = [](char c) { return c == '\t' || c == '\n' || c == '\r'; };
  std::replace_if(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), is_break, ' ');
  out += '\t';
  out += label;
  out += '\n';
}

// The pre-tokenizer's words of a text, in bytes.
std::vector<Span> words_of(std::string_view text, const Tokenizer& tokenizer, const AnalyzeOptions& options) {
  TokenizeOptions tokenize;
  tokenize.special_tokens_in_text = options.special_tokens_in_text;
  tokenize.invalid_utf8 = options.invalid_utf8;
  Encodings encodings;
  tokenizer.encode(text, tokenize, encodings);
  const Encoding& tokens = encodings.chunks.front();
  std::vector<Span> words;
  int32_t last = -1;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens.special[i] != 0) continue;
    if (words.empty() || tokens.words[i] < 0 || tokens.words[i] != last) {
      words.push_back(tokens.bytes[i]);
    } else {
      words.back().end = std::max(words.back().end, tokens.bytes[i].end);
    }
    last = tokens.words[i];
  }
  return words;
}

// Labels of words from entities, IOB2 where entities span words; both are in the order of the text.
void append_words_of_text(const InputText& item, const Analysis& analysis, const Tokenizer& tokenizer,
                          const AnalyzeOptions& options, std::string& out) {
  const std::span<const Entity> entities = entities_of(analysis);
  size_t next = 0;
  for (const Span word : words_of(item.text, tokenizer, options)) {
    while (next < entities.size() && entities[next].bytes.end <= word.begin) ++next;
    std::string label = "O";
    if (next < entities.size() && entities[next].bytes.begin < word.end) {
      const Entity& entity = entities[next];
      const bool begins = entity.bytes.begin >= word.begin;
      // Strategy none gives the model's own labels; the others the entity's name, which may look like one ("E-MAIL").
      const bool is_model_label = options.strategy == Strategy::kNone;
      label = is_model_label ? entity.label : (begins ? "B-" : "I-") + entity.label;
    }
    append_column(std::string_view(item.text).substr(word.begin, word.end - word.begin), label, out);
  }
}

}  // namespace

std::string_view label_group(std::string_view label) {
  constexpr std::string_view kPrefixes = "BIOESLU";  // BIO, BIOES, BILOU
  const bool has_prefix = label.size() > 2 && label[1] == '-' && kPrefixes.find(label[0]) != kPrefixes.npos;
  return has_prefix ? label.substr(2) : label;
}

void render_json(const InputText& item, const Analysis& analysis, const AnalyzeOptions& options,
                 std::span<const std::string> labels, std::string& out) {
  out += "{\"text\":";
  append_json_string(out, item.text);
  out += analysis.truncated ? ",\"truncated\":true," : ",\"truncated\":false,";
  if (item.pre_tokenized) append_words(item, analysis, out);
  out += "\"entities\":[";
  bool first = true;
  for (const Entity& entity : entities_of(analysis)) {
    if (!first) out += ',';
    first = false;
    if (options.strategy == Strategy::kWords) {
      append_own_entity(entity, out);
    } else {
      append_reference_entity(entity, options.strategy, out);
    }
    append_label_scores(entity, labels, out);
    out += '}';
  }
  out += "]}\n";
}

void render_conll(const InputText& item, const Analysis& analysis, const Tokenizer& tokenizer,
                  const AnalyzeOptions& options, std::string& out) {
  if (item.pre_tokenized) {
    for (size_t i = 0; i < item.words.size(); ++i) append_column(item.words[i], analysis.words[i].label, out);
  } else {
    append_words_of_text(item, analysis, tokenizer, options, out);
  }
  out += '\n';
}

TextRenderer::TextRenderer(std::span<const std::string> labels, bool colour, bool terminal)
    : colour_(colour), terminal_(terminal) {
  for (const std::string& label : labels) {
    const std::string group(label_group(label));
    if (group != "O" && std::find(groups_.begin(), groups_.end(), group) == groups_.end()) groups_.push_back(group);
  }
}

void TextRenderer::append(std::string_view text, std::string& out) const {
  if (terminal_) {
    out += printable(text);
  } else {
    out += text;
  }
}

std::string_view TextRenderer::colour_of(std::string_view group) const {
  // Bright backgrounds, on which black can be read: blue, green, yellow, magenta, cyan, red.
  static constexpr std::array<std::string_view, 6> kColours = {"104", "102", "103", "105", "106", "101"};
  const auto found = std::find(groups_.begin(), groups_.end(), group);
  return kColours[static_cast<size_t>(found - groups_.begin()) % kColours.size()];
}

void TextRenderer::render(std::string_view text, const Analysis& analysis, std::string& out) const {
  size_t at = 0;
  for (const Entity& entity : entities_of(analysis)) {
    // The reference's entities may be empty or repeated.
    if (entity.bytes.begin < at || entity.bytes.begin == entity.bytes.end) continue;
    append(text.substr(at, entity.bytes.begin - at), out);
    if (colour_) out.append("\x1b[30;").append(colour_of(label_group(entity.label))).append("m ");
    if (!colour_) out += '[';
    append(text.substr(entity.bytes.begin, entity.bytes.end - entity.bytes.begin), out);
    if (colour_) out.append(" \x1b[1m").append(entity.label).append(" \x1b[0m");
    if (!colour_) out.append(" ").append(entity.label).append("]");
    at = entity.bytes.end;
  }
  append(text.substr(at), out);
  if (text.empty() || text.back() != '\n') out += '\n';
}

}  // namespace octobert::apps
