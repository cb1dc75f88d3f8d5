#include "converter/tokenizer_import.h"

#include <algorithm>
#include <optional>

#include "converter/json.h"
#include "converter/json_fields.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

namespace fs = std::filesystem;

std::optional<nlohmann::json> read_if_there(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  return read_json_object(path);
}

// tokenizer.json decides; that tokenizer_config.json says otherwise is worth a warning.
void compare_normalizer(const nlohmann::json& config, const std::string& source, TokenizerSpec& spec) {
  const std::pair<const char*, bool> options[] = {{"do_lower_case", spec.normalizer.lowercase},
                                                  {"strip_accents", spec.normalizer.strip_accents},
                                                  {"tokenize_chinese_chars", spec.normalizer.handle_chinese_chars}};
  for (const auto& [name, used] : options) {
    const auto found = config.find(name);
    if (found != config.end() && found->is_boolean() && found->get<bool>() != used) {
      spec.warnings.push_back(source + ": " + name + " is " + (used ? "false" : "true") +
                              ", but tokenizer.json, which is used, says " + (used ? "true" : "false"));
    }
  }
}

}  // namespace

int64_t TokenizerSpec::id_of(const std::string& token) const {
  for (const AddedTokenSpec& entry : added) {
    if (entry.content == token) return entry.id;
  }
  const auto at = std::lower_bound(vocabulary.begin(), vocabulary.end(), token,
                                   [](const auto& entry, const std::string& string) { return entry.first < string; });
  return at != vocabulary.end() && at->first == token ? int64_t{at->second} : -1;
}

void add_token(const AddedTokenSpec& token, TokenizerSpec& spec) {
  if (token.content.empty()) return;
  const int64_t known = spec.id_of(token.content);
  const auto size = static_cast<uint32_t>(spec.vocabulary.size());
  uint32_t next = size;
  if (!spec.added.empty()) next = std::max(next, spec.added.back().id + 1);  // by id: the last is the largest
  AddedTokenSpec entry = token;
  entry.id = known >= 0 ? static_cast<uint32_t>(known) : next;
  const auto at = std::lower_bound(spec.added.begin(), spec.added.end(), entry.id,
                                   [](const AddedTokenSpec& a, uint32_t id) { return a.id < id; });
  if (at == spec.added.end() || at->id != entry.id) {
    spec.added.insert(at, entry);
    return;
  }
  // Once special, a content stays special, as in the reference's set of them.
  entry.special = entry.special || (at->special && at->content == entry.content);
  *at = entry;
}

void apply_tokenizer_config(const nlohmann::json& config, const std::string& source, TokenizerSpec& spec) {
  const JsonField file(config, source + ": ");
  // Absent, null, or the library's "very large integer" (1e30): no limit. max_len is the old name.
  for (const char* name : {"model_max_length", "max_len"}) {
    if (!file.value().contains(name)) continue;
    const JsonField field = file[name];
    if (!field.is_null() && !field.value().is_number()) field.expected("a number of tokens");
    constexpr double kNoLimit = 9e15;  // above 2^53 no length is meant
    if (!field.is_null() && field.value().get<double>() < kNoLimit) {
      if (!field.value().is_number_unsigned() && !(field.value().get<double>() >= 0))
        field.expected("a number of tokens");
      spec.model_max_length = static_cast<uint64_t>(field.value().get<double>());
    }
    break;
  }
  if (file.has("truncation_side")) {
    const std::string& side = file["truncation_side"].string();
    if (side != "left" && side != "right") file["truncation_side"].expected("\"left\" or \"right\"");
    spec.truncate_left = side == "left";
  }
  if (file.has("split_special_tokens")) spec.escape_specials = file["split_special_tokens"].boolean();
}

TokenizerSpec read_tokenizer(const fs::path& folder) {
  const fs::path json = folder / "tokenizer.json", vocab = folder / "vocab.txt";
  const fs::path config_path = folder / "tokenizer_config.json";
  if (fs::exists(json)) {
    TokenizerSpec spec = read_tokenizer_json(read_json_object(json), json.string());
    if (const auto config = read_if_there(config_path)) {
      apply_tokenizer_config(*config, config_path.string(), spec);
      compare_normalizer(*config, config_path.string(), spec);
    }
    return spec;
  }
  if (!fs::exists(vocab)) {
    for (const char* other : {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json"}) {
      if (fs::exists(folder / other)) {
        throw Error(
            ErrorCode::kUnsupported,
            (folder / other).string() + ": only WordPiece tokenizers (tokenizer.json " + "or vocab.txt) are supported");
      }
    }
    throw Error(ErrorCode::kIo, folder.string() + ": no tokenizer: neither tokenizer.json nor vocab.txt is there");
  }
  VocabFiles files;
  files.vocab = read_text_file(vocab);
  files.vocab_name = vocab.string();
  files.config_name = config_path.string();
  files.special_tokens_map_name = (folder / "special_tokens_map.json").string();
  files.added_tokens_name = (folder / "added_tokens.json").string();
  files.config = read_if_there(files.config_name).value_or(nlohmann::json());
  files.special_tokens_map = read_if_there(files.special_tokens_map_name).value_or(nlohmann::json());
  files.added_tokens = read_if_there(files.added_tokens_name).value_or(nlohmann::json());
  return read_vocab_files(files);
}

LoadedTokenizer load_tokenizer(const fs::path& folder) {
  TokenizerSpec spec = read_tokenizer(folder);
  std::vector<std::byte> bytes = freeze(spec);
  Tokenizer tokenizer = Tokenizer::from_frozen(bytes, folder.string());
  return {std::move(bytes), std::move(tokenizer), std::move(spec.warnings)};
}

}  // namespace octobert::converter
