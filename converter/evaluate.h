// How well a model labels words, and how well two models agree: CoNLL files, labels by each word's first piece,
// entity F1 by exact span and type.
#ifndef OCTOBERT_CONVERTER_EVALUATE_H_
#define OCTOBERT_CONVERTER_EVALUATE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/engine.h"

namespace octobert::converter {

class TextLines;

struct Sentence {
  std::vector<std::string> words;
  std::vector<std::string> labels;  // one a word; empty where they are not known
};

// Corpora of hundreds of megabytes are not evaluation sets; a mistaken file should not fill the memory.
inline constexpr size_t kMaxCorpusBytes = size_t{1} << 30;

// Lines "TOKEN<TAB>LABEL" (or separated by spaces: the first and the last column count), a blank line after each
// sentence, lines that begin with "-DOCSTART-" skipped, LF or CRLF. Throws Error(kIo, kFormat) naming file and line,
// also for what is not UTF-8.
std::vector<Sentence> read_conll(const std::filesystem::path& path);
// The next of such a file's sentences; false if there is none. Throws the same.
bool read_conll_sentence(TextLines& lines, Sentence& sentence);

// What can be measured of a file by its labels and a model's, which are compared by the types of their entities: B-X,
// I-X, S-X, ... are all of type X. Returns a warning that names `file`, "" if all is well:
// - labels of types that the model does not have: no such model can find their entities;
// - a model whose labels are LABEL_n only, which says nothing of what they mean: the sentences lose their labels, so
//   agreement with the float model is measured and F1 is not. With `for_f1` that is an error.
// Throws Error(kInvalidInput), saying what to do, if the file has entities and the model can find none of them.
std::string align_labels(const std::string& file, std::span<Sentence> sentences,
                         std::span<const std::string> model_labels, bool for_f1 = false);

struct EntitySpan {
  size_t begin, end;  // words [begin, end)
  std::string type;
  friend bool operator==(const EntitySpan&, const EntitySpan&) = default;
};
// B-X opens an entity, and so does I-X after O or after another type. E-/L- count as I-, S-/U- as B-; a label without
// any of these prefixes, "O" aside, as I- of itself.
std::vector<EntitySpan> entity_spans(std::span<const std::string_view> labels);

// Entities of one type, or of all.
struct EntityCounts {
  size_t expected = 0, found = 0, correct = 0;
  // Fractions of 1. Without entities to find, or found, precision and recall are 0, as conlleval has it.
  double precision() const { return found == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(found); }
  double recall() const { return expected == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(expected); }
  double f1() const {
    return expected + found == 0 ? 0 : 2.0 * static_cast<double>(correct) / static_cast<double>(expected + found);
  }
  void add(const EntityCounts& other);
};

// spans: what entity_spans() gives.
bool contains(std::span<const EntitySpan> spans, const EntitySpan& span);

struct EntityScores {
  EntityCounts all;
  std::map<std::string, EntityCounts> by_type;
  void add(std::span<const std::string_view> expected, std::span<const std::string_view> found);  // a sentence's labels
  void add(const EntityScores& other);
};

// Texts as a model sees them: tokens, and which token is each word's first.
struct EncodedTexts {
  std::vector<int32_t> ids;                        // of all windows, one after the other
  std::vector<int32_t> offsets = {0};              // [windows + 1]
  std::vector<std::vector<int32_t>> first_pieces;  // [text][word]: index in ids; -1 if the tokenizer drops the word
};
// Texts longer than the model's window are cut into windows, one after the other.
// Words as they are given, or (encode_texts) those of the tokenizer's pre-tokenizer.
EncodedTexts encode_sentences(const Engine& engine, std::span<const Sentence> sentences);
EncodedTexts encode_texts(const Engine& engine, std::span<const std::string> texts);

// The label of each word's first piece, as an index into the model's labels: [text][word]; -1 where it has no piece.
// logits: [encoded.ids][label_count].
std::vector<std::vector<int32_t>> word_labels(const EncodedTexts& encoded, std::span<const float> logits,
                                              size_t label_count);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_EVALUATE_H_
