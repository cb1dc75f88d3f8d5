// A checkpoint folder's tokenizer -> what it does (TokenizerSpec) -> its frozen form (tokenizer/frozen.h).
#ifndef OCTOBERT_CONVERTER_TOKENIZER_IMPORT_H_
#define OCTOBERT_CONVERTER_TOKENIZER_IMPORT_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "octobert/tokenizer.h"
#include "tokenizer/frozen.h"
#include "tokenizer/normalize.h"

namespace octobert::converter {

struct AddedTokenSpec {
  std::string content;
  uint32_t id = 0;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

struct DecoderSpec {
  bool wordpiece = true;  // else tokens are joined by spaces
  std::string prefix = "##";
  bool cleanup = true;
};

// What a WordPiece tokenizer does, whichever files said so. Other kinds (BPE, Unigram) will stand beside it.
struct TokenizerSpec {
  NormalizerOptions normalizer;
  std::vector<std::pair<std::string, uint32_t>> vocabulary;  // by string, no string twice
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  uint64_t max_word_chars = 100;
  std::vector<AddedTokenSpec> added;  // by id, no id twice
  std::vector<frozen::TemplatePiece> single, pair;
  DecoderSpec decoder;
  uint64_t model_max_length = 0;      // 0: not set
  bool truncate_left = false;         // truncation_side
  bool escape_specials = false;       // split_special_tokens
  std::vector<std::string> warnings;  // for whoever converts; no part of the frozen form

  // Id of an added token or a token of the vocabulary; -1 if there is none.
  int64_t id_of(const std::string& token) const;
};

// Reads tokenizer.json if the folder has one, which then decides everything but model_max_length, truncation_side and
// split_special_tokens (tokenizer_config.json). Its own truncation and padding settings are not used, as every call
// of transformers replaces them; truncation.direction stands in for a missing truncation_side.
// Without tokenizer.json: vocab.txt, tokenizer_config.json, special_tokens_map.json and added_tokens.json, as
// transformers' BertTokenizer takes them (do_lower_case is true unless set, whatever the model's name).
// Throws Error naming the file and the field: kIo (neither file), kFormat (JSON of another shape than needed),
// kUnsupported (BPE, Unigram, other normalizers, pre-tokenizers, post-processors, decoders).
TokenizerSpec read_tokenizer(const std::filesystem::path& folder);

// The two sources, for tests and fuzzers. `source` names the file in errors.
TokenizerSpec read_tokenizer_json(const nlohmann::json& root, const std::string& source);
// Any of the three may be null.
struct VocabFiles {
  std::string vocab;  // the file's bytes
  std::string vocab_name;
  nlohmann::json config, special_tokens_map, added_tokens;
  std::string config_name, special_tokens_map_name, added_tokens_name;
};
TokenizerSpec read_vocab_files(const VocabFiles& files);
// model_max_length, truncation_side, split_special_tokens.
void apply_tokenizer_config(const nlohmann::json& config, const std::string& source, TokenizerSpec& spec);

// Adds a token as the reference's add_tokens does: the id of its content if that is known, else the next free one.
// Equal content replaces the flags. `order` of calls matters.
void add_token(const AddedTokenSpec& token, TokenizerSpec& spec);

// Bytes of a tokenizer section. The same spec gives the same bytes on every machine.
// Throws Error(kUnsupported) for what the frozen form has no room for (frozen::kMax...).
std::vector<std::byte> freeze(const TokenizerSpec& spec);

// A tokenizer and the bytes that it looks into.
struct LoadedTokenizer {
  std::vector<std::byte> bytes;
  Tokenizer tokenizer;
  std::vector<std::string> warnings;
};
LoadedTokenizer load_tokenizer(const std::filesystem::path& folder);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TOKENIZER_IMPORT_H_
