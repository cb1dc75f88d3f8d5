// vocab.txt and its companions -> TokenizerSpec, as transformers 5.23.0 builds its (fast) BertTokenizer.
#include <algorithm>
#include <map>

#include "converter/json_fields.h"
#include "converter/tokenizer_import.h"
#include "octobert/error.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace octobert::converter {
namespace {

using nlohmann::json;

// Without trailing white space (Unicode's), as the reference's file reader leaves a line.
std::string_view trim_end(std::string_view line) {
  while (!line.empty()) {
    size_t at = line.size();
    do --at;
    while (at > 0 && utf8::is_continuation(static_cast<uint8_t>(line[at])));
    const auto* p = reinterpret_cast<const uint8_t*>(line.data()) + at;
    if (!(unicode::char_record(utf8::decode(p, utf8::sequence_size(*p))).flags & unicode::kWhitespace)) break;
    line = line.substr(0, at);
  }
  return line;
}

// One token a line, its number the id; of equal lines the last one's.
void read_vocabulary(const VocabFiles& files, TokenizerSpec& spec) {
  const size_t invalid = utf8::find_invalid_utf8(files.vocab);
  if (invalid != files.vocab.size()) {
    throw Error(ErrorCode::kFormat, files.vocab_name + ": invalid UTF-8 at byte " + std::to_string(invalid));
  }
  std::map<std::string, uint32_t> ids;
  uint32_t id = 0;
  for (size_t at = 0; at < files.vocab.size(); ++id) {
    const size_t end = std::min(files.vocab.find('\n', at), files.vocab.size());
    if (id == frozen::kMaxVocabulary) throw Error(ErrorCode::kFormat, files.vocab_name + ": too many lines");
    ids[std::string(trim_end(std::string_view(files.vocab).substr(at, end - at)))] = id;
    at = end + 1;
  }
  if (ids.empty()) throw Error(ErrorCode::kFormat, files.vocab_name + ": no tokens in it");
  spec.vocabulary.assign(ids.begin(), ids.end());
}

// A token as the JSON files write it: a string, or an object with the flags.
AddedTokenSpec read_token(const JsonField& field, bool special) {
  AddedTokenSpec token;
  token.special = special;
  if (field.value().is_string()) {
    token.content = field.string();
    token.normalized = !special;
    return token;
  }
  token.content = field["content"].string();
  const auto flag = [&](const char* name, bool otherwise) {
    return field.has(name) ? field[name].boolean() : otherwise;
  };
  token.special = special || flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

// The special tokens and added tokens of the configuration files.
class Configuration {
 public:
  explicit Configuration(const VocabFiles& files) {
    for (const auto& [name, content] : kNames) set(name, {content, 0, false, false, false, false, true});
    if (files.config.is_object()) read_config(JsonField(files.config, files.config_name + ": "));
    further_is_special_ = !further_.empty();
    // The newer form, added_tokens_decoder, makes the older files void.
    if (has_decoder_) return;
    if (files.special_tokens_map.is_object()) {
      read_special_tokens(JsonField(files.special_tokens_map, files.special_tokens_map_name + ": "));
      // The reference does not look at the old name here when it decides which of added_tokens.json are special.
      further_is_special_ = further_is_special_ || files.special_tokens_map.contains("extra_special_tokens");
    }
    if (files.added_tokens.is_object()) {
      read_added_tokens(JsonField(files.added_tokens, files.added_tokens_name + ": "));
    }
  }

  // The content of a named special token.
  const std::string& named(const std::string& name) const {
    return std::find_if(named_.begin(), named_.end(), [&](const auto& entry) { return entry.first == name; })
        ->second.content;
  }

  // In the reference's order: added tokens by index, named special tokens, further ones.
  std::vector<AddedTokenSpec> tokens() const {
    std::vector<AddedTokenSpec> tokens;
    const auto known = [&](const std::string& content) {
      return std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) { return token.content == content; });
    };
    for (const auto& [index, token] : decoder_) {
      tokens.push_back(token);
      tokens.back().special |= is_named(token.content);
    }
    for (const auto& [name, token] : named_) {
      if (!token.content.empty() && !known(token.content)) tokens.push_back(token);
    }
    for (const AddedTokenSpec& token : further_) {
      if (!known(token.content)) tokens.push_back(token);
    }
    return tokens;
  }

 private:
  // With BertTokenizer's defaults; "" is none. In the order in which they are added.
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"bos_token", ""},      {"eos_token", ""},      {"unk_token", "[UNK]"},  {"sep_token", "[SEP]"},
      {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}};

  void set(const std::string& name, const AddedTokenSpec& token) {
    for (auto& [existing, value] : named_) {
      if (existing == name) {
        value = token;
        return;
      }
    }
    named_.emplace_back(name, token);
  }
  bool is_named(const std::string& content) const {
    return std::any_of(named_.begin(), named_.end(),
                       [&](const auto& entry) { return entry.second.content == content; });
  }

  bool is_further(const std::string& content) const {
    return std::any_of(further_.begin(), further_.end(), [&](const auto& token) { return token.content == content; });
  }

  void read_special_tokens(const JsonField& file) {
    for (const auto& [key, value] : file.object().items()) {
      if (key.ends_with("_token") && value.is_null()) {
        set(key, {});  // explicitly none
      } else if (key.ends_with("_token") && (value.is_string() || value.is_object())) {
        set(key, read_token(file[key], true));
      }
    }
    // The old name counts only where the new one has not been given, here or in tokenizer_config.json.
    if (file.has("extra_special_tokens")) {
      read_further(file["extra_special_tokens"]);
    } else if (file.has("additional_special_tokens") && further_.empty()) {
      read_further(file["additional_special_tokens"]);
    }
  }

  void read_further(const JsonField& field) {
    if (field.value().is_object()) {  // named: {"image_token": "<image>"}
      for (const auto& [key, value] : field.object().items()) set(key, read_token(field[key], true));
      return;
    }
    for (size_t i = 0; i < field.array().size(); ++i) further_.push_back(read_token(field[i], true));
  }

  void read_config(const JsonField& file) {
    read_special_tokens(file);
    if (!file.value().contains("added_tokens_decoder")) return;
    has_decoder_ = true;
    const JsonField decoder = file["added_tokens_decoder"];
    for (const auto& [key, value] : decoder.object().items()) {
      const JsonField entry = decoder[key];
      if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
        decoder.expected("ids as keys, but one is '" + key + "'");
      }
      entry.object();
      decoder_[std::stoul(key)] = read_token(entry, false);
    }
  }

  void read_added_tokens(const JsonField& file) {
    for (const auto& [content, index] : file.object().items()) {
      const bool special = is_named(content) || (further_is_special_ && is_further(content));
      AddedTokenSpec token;
      token.content = content;
      token.special = special;
      token.normalized = !special;
      decoder_[file[content].unsigned_integer(UINT32_MAX)] = token;
    }
  }

  std::vector<std::pair<std::string, AddedTokenSpec>> named_;
  std::vector<AddedTokenSpec> further_;
  std::map<uint64_t, AddedTokenSpec> decoder_;
  bool has_decoder_ = false;
  bool further_is_special_ = false;
};

void read_options(const JsonField& file, TokenizerSpec& spec) {
  const auto option = [&](const char* name, bool otherwise) {
    return file.has(name) ? file[name].boolean() : otherwise;
  };
  spec.normalizer.lowercase = option("do_lower_case", true);
  spec.normalizer.strip_accents = option("strip_accents", spec.normalizer.lowercase);
  spec.normalizer.handle_chinese_chars = option("tokenize_chinese_chars", true);
}

}  // namespace

TokenizerSpec read_vocab_files(const VocabFiles& files) {
  TokenizerSpec spec;
  read_vocabulary(files, spec);
  static const json kEmpty = json::object();
  const json& config = files.config.is_null() ? kEmpty : files.config;
  read_options(JsonField(config, files.config_name + ": "), spec);
  apply_tokenizer_config(config, files.config_name, spec);
  const Configuration configuration(files);
  spec.unk_token = configuration.named("unk_token");
  if (spec.id_of(spec.unk_token) < 0) {
    throw Error(ErrorCode::kFormat, files.vocab_name + ": the unknown token '" + spec.unk_token + "' is not in it");
  }
  for (const AddedTokenSpec& token : configuration.tokens()) add_token(token, spec);
  const auto template_id = [&](const char* name) {
    const int64_t id = spec.id_of(configuration.named(name));
    if (id < 0) throw Error(ErrorCode::kUnsupported, files.config_name + ": " + name + ": null is not supported");
    return static_cast<uint32_t>(id);
  };
  const uint32_t cls = template_id("cls_token"), sep = template_id("sep_token");
  spec.single = {{frozen::kToken, cls, 0}, {frozen::kSequenceA, 0, 0}, {frozen::kToken, sep, 0}};
  spec.pair = spec.single;
  spec.pair.push_back({frozen::kSequenceB, 0, 1});
  spec.pair.push_back({frozen::kToken, sep, 1});
  return spec;
}

}  // namespace octobert::converter
