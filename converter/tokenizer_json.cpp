// tokenizer.json -> TokenizerSpec, as tokenizers 0.23.3 loads it.
#include <algorithm>

#include "converter/json_fields.h"
#include "converter/tokenizer_import.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using nlohmann::json;

std::string type_of(const JsonField& field) { return field.has("type") ? field["type"].string() : std::string(); }

// A "Sequence" of one element is that element.
JsonField unwrap(const JsonField& field, const std::string& elements) {
  if (type_of(field) == "Sequence" && field[elements].array().size() == 1) return unwrap(field[elements][0], elements);
  return field;
}

void read_normalizer(const JsonField& outer, TokenizerSpec& spec) {
  if (outer.is_null()) {
    spec.normalizer = {false, false, false, false};
    return;
  }
  const JsonField field = unwrap(outer, "normalizers");
  if (type_of(field) != "BertNormalizer") {
    field.unsupported("normalizer '" + type_of(field) + "' is not supported, only BertNormalizer is");
  }
  spec.normalizer.clean_text = field["clean_text"].boolean();
  spec.normalizer.handle_chinese_chars = field["handle_chinese_chars"].boolean();
  spec.normalizer.lowercase = field["lowercase"].boolean();
  spec.normalizer.strip_accents =
      field.has("strip_accents") ? field["strip_accents"].boolean() : spec.normalizer.lowercase;
}

void read_pre_tokenizer(const JsonField& outer) {
  if (outer.is_null()) outer.unsupported("a tokenizer without BertPreTokenizer is not supported");
  const JsonField field = unwrap(outer, "pretokenizers");
  if (type_of(field) != "BertPreTokenizer") {
    field.unsupported("pre-tokenizer '" + type_of(field) + "' is not supported, only BertPreTokenizer is");
  }
}

void read_model(const JsonField& field, TokenizerSpec& spec) {
  // Older files have no type; only BPE has merges, only Unigram's vocabulary is an array.
  const std::string type = type_of(field);
  const bool other = type.empty() && (field.has("merges") || (field.has("vocab") && field["vocab"].value().is_array()));
  if (other || (!type.empty() && type != "WordPiece")) {
    field.unsupported("model '" + (type.empty() ? "BPE or Unigram" : type) + "' is not supported, only WordPiece is");
  }
  spec.unk_token = field["unk_token"].string();
  spec.continuing_prefix = field["continuing_subword_prefix"].string();
  spec.max_word_chars = field["max_input_chars_per_word"].unsigned_integer(UINT64_MAX);
  const JsonField vocab = field["vocab"];
  for (const auto& [token, id] : vocab.object().items()) {
    spec.vocabulary.emplace_back(
        token, JsonField(id, vocab.path() + "['" + token + "']").unsigned_integer(frozen::kMaxVocabulary - 1));
  }
  if (spec.vocabulary.empty()) vocab.expected("at least one token");
  std::sort(spec.vocabulary.begin(), spec.vocabulary.end());
  if (spec.id_of(spec.unk_token) < 0) field["unk_token"].expected("a token of the vocabulary");
}

void read_added_tokens(const JsonField& field, TokenizerSpec& spec) {
  for (size_t i = 0; i < field.array().size(); ++i) {
    const JsonField entry = field[i];
    AddedTokenSpec token;
    token.content = entry["content"].string();
    token.single_word = entry["single_word"].boolean();
    token.lstrip = entry["lstrip"].boolean();
    token.rstrip = entry["rstrip"].boolean();
    token.normalized = entry["normalized"].boolean();
    token.special = entry["special"].boolean();
    const uint64_t id = entry["id"].unsigned_integer(UINT32_MAX);
    add_token(token, spec);
    const int64_t given = spec.id_of(token.content);
    if (given >= 0 && static_cast<uint64_t>(given) != id) {
      spec.warnings.push_back(entry.path() + ": '" + token.content + "' says id " + std::to_string(id) +
                              ", the reference gives it " + std::to_string(given));
    }
  }
}

uint32_t vocabulary_end(const TokenizerSpec& spec) {
  uint32_t end = 0;
  for (const auto& [token, id] : spec.vocabulary) end = std::max(end, id + 1);
  for (const AddedTokenSpec& token : spec.added) end = std::max(end, token.id + 1);
  return end;
}

uint32_t read_id(const JsonField& field, const TokenizerSpec& spec) {
  return static_cast<uint32_t>(field.unsigned_integer(vocabulary_end(spec) - 1));
}

std::vector<frozen::TemplatePiece> read_template(const JsonField& field, const JsonField& specials, bool is_pair,
                                                 const TokenizerSpec& spec) {
  std::vector<frozen::TemplatePiece> pieces;
  for (size_t i = 0; i < field.array().size(); ++i) {
    const JsonField piece = field[i];
    if (piece.has("Sequence")) {
      const JsonField sequence = piece["Sequence"];
      const std::string& id = sequence["id"].string();
      if (id != "A" && id != "B") sequence["id"].expected("\"A\" or \"B\"");
      pieces.push_back({id == "A" ? frozen::kSequenceA : frozen::kSequenceB, 0,
                        static_cast<uint32_t>(sequence["type_id"].unsigned_integer(INT32_MAX))});
    } else if (piece.has("SpecialToken")) {
      const JsonField special = piece["SpecialToken"];
      const auto type_id = static_cast<uint32_t>(special["type_id"].unsigned_integer(INT32_MAX));
      const JsonField ids = specials[special["id"].string()]["ids"];
      for (size_t k = 0; k < ids.array().size(); ++k)
        pieces.push_back({frozen::kToken, read_id(ids[k], spec), type_id});
    } else {
      piece.expected("an object with 'Sequence' or 'SpecialToken'");
    }
  }
  const auto count = [&](uint32_t kind) {
    return std::count_if(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.kind == kind; });
  };
  if (count(frozen::kSequenceA) != 1 || count(frozen::kSequenceB) != (is_pair ? 1 : 0)) {
    field.unsupported(is_pair ? "a template for pairs without exactly one A and one B is not supported"
                              : "a template for one text without exactly one A is not supported");
  }
  if (pieces.size() > frozen::kMaxPieces) field.unsupported("templates of so many pieces are not supported");
  return pieces;
}

void read_bert_processing(const JsonField& field, TokenizerSpec& spec) {
  field["cls"][0].string();
  field["sep"][0].string();
  const uint32_t cls = read_id(field["cls"][1], spec), sep = read_id(field["sep"][1], spec);
  spec.single = {{frozen::kToken, cls, 0}, {frozen::kSequenceA, 0, 0}, {frozen::kToken, sep, 0}};
  spec.pair = spec.single;
  spec.pair.push_back({frozen::kSequenceB, 0, 1});
  spec.pair.push_back({frozen::kToken, sep, 1});
}

void read_post_processor(const JsonField& outer, TokenizerSpec& spec) {
  if (outer.is_null()) {
    spec.single = {{frozen::kSequenceA, 0, 0}};
    spec.pair = {{frozen::kSequenceA, 0, 0}, {frozen::kSequenceB, 0, 1}};
    return;
  }
  const JsonField field = unwrap(outer, "processors");
  const std::string type = type_of(field);
  if (type == "TemplateProcessing") {
    spec.single = read_template(field["single"], field["special_tokens"], false, spec);
    spec.pair = read_template(field["pair"], field["special_tokens"], true, spec);
  } else if (type == "BertProcessing") {
    read_bert_processing(field, spec);
  } else {
    field.unsupported("post-processor '" + type + "' is not supported, only TemplateProcessing and BertProcessing are");
  }
}

void read_decoder(const JsonField& field, TokenizerSpec& spec) {
  if (field.is_null()) {
    spec.decoder = {false, "", false};
    return;
  }
  if (type_of(field) != "WordPiece") {
    field.unsupported("decoder '" + type_of(field) + "' is not supported, only WordPiece is");
  }
  spec.decoder = {true, field["prefix"].string(), field["cleanup"].boolean()};
}

}  // namespace

TokenizerSpec read_tokenizer_json(const json& root, const std::string& source) {
  const JsonField file(root, source + ": ");
  static const json kNull;
  const auto optional = [&](const std::string& key) {
    return file.has(key) ? file[key] : JsonField(kNull, source + ": " + key);
  };
  if (file.has("version") && file["version"].string() != "1.0")
    file["version"].unsupported("only version 1.0 is known");
  TokenizerSpec spec;
  read_model(file["model"], spec);
  read_normalizer(optional("normalizer"), spec);
  read_pre_tokenizer(optional("pre_tokenizer"));
  if (file.has("added_tokens")) read_added_tokens(file["added_tokens"], spec);
  read_post_processor(optional("post_processor"), spec);
  read_decoder(optional("decoder"), spec);
  const JsonField truncation = optional("truncation");
  if (!truncation.is_null() && truncation.has("direction")) {
    const std::string& direction = truncation["direction"].string();
    if (direction != "Left" && direction != "Right") truncation["direction"].expected("\"Left\" or \"Right\"");
    spec.truncate_left = direction == "Left";
  }
  return spec;
}

}  // namespace octobert::converter
