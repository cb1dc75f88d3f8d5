// octobert tokenize: texts in, ids and offsets out.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "apps/input.h"
#include "apps/output.h"
#include "converter/tokenizer_import.h"
#include "engine/model_file.h"

namespace octobert::apps {
namespace {

struct TokenizeFlags {
  std::string source;
  InputOptions input;
  TextPolicy policy;
  TokenizeOptions options;
};

// The tokenizer of a packed file or of a folder, and what it looks into.
class TokenizerSource {
 public:
  explicit TokenizerSource(const std::filesystem::path& source) {
    if (std::filesystem::is_directory(source)) {
      folder_ = converter::load_tokenizer(source);
      for (const std::string& warning : folder_->warnings) print_message("warning: " + warning);
    } else {
      // The arithmetic is not used: its version does not matter.
      file_ = ModelFile::open(source, {.allow_other_numerics = true});
      of_file_ = Tokenizer::from_frozen(file_->tokenizer_section(), file_->source());
    }
  }
  const Tokenizer& tokenizer() const { return folder_ ? folder_->tokenizer : *of_file_; }

 private:
  std::optional<converter::LoadedTokenizer> folder_;
  std::optional<ModelFile> file_;
  std::optional<Tokenizer> of_file_;
};

template <typename Values, typename AppendOne>
void append_list(const char* name, const Values& values, std::string& out, AppendOne append_one) {
  out += name;
  const char* separator = "[";
  for (const auto& value : values) {
    out += separator;
    append_one(value);
    separator = ",";
  }
  out += values.empty() ? "[]" : "]";
}

void append_chunk(const Encoding& chunk, bool pair, std::string& out) {
  const auto number = [&out](auto value) { out += std::to_string(value); };
  const auto span = [&out](Span value) { append_json_span(out, value); };
  append_list("{\"ids\":", chunk.ids, out, number);
  append_list(",\"type_ids\":", chunk.type_ids, out, number);
  append_list(",\"special\":", chunk.special, out, number);
  append_list(",\"words\":", chunk.words, out, [&out](int32_t word) {
    if (word < 0) out += "null";
    if (word >= 0) out += std::to_string(word);
  });
  if (pair) append_list(",\"sequences\":", chunk.sequences, out, number);
  append_list(",\"offsets\":", chunk.codepoints, out, span);
  append_list(",\"byte_offsets\":", chunk.bytes, out, span);
  out += '}';
}

void encode(const Tokenizer& tokenizer, const InputText& item, const TokenizeOptions& options, Encodings& encodings) {
  try {
    if (item.pre_tokenized) {
      const std::vector<std::string_view> words(item.words.begin(), item.words.end());
      tokenizer.encode_words(words, options, encodings);
    } else if (item.has_pair) {
      tokenizer.encode_pair(item.text, item.pair, options, encodings);
    } else {
      tokenizer.encode(item.text, options, encodings);
    }
  } catch (const Error& error) {
    throw Error(error.code(), item.origin + ": " + error.what());
  }
}

int run_tokenize(const TokenizeFlags& flags) {
  const TokenizerSource source(flags.source);
  TokenizeOptions options = flags.options;
  options.special_tokens_in_text = flags.policy.special_tokens;
  options.invalid_utf8 = flags.policy.invalid_utf8;
  TextReader reader(flags.input, flags.policy.invalid_utf8);
  std::vector<InputText> batch;
  Encodings encodings;
  Output output;
  while (reader.next(batch)) {
    for (const InputText& item : batch) {
      try {
        encode(source.tokenizer(), item, options, encodings);
      } catch (const Error&) {
        output.flush();  // the texts before it
        throw;
      }
      append_list("{\"chunks\":", std::span(encodings.chunks).first(encodings.count), output.text(),
                  [&](const Encoding& chunk) { append_chunk(chunk, item.has_pair, output.text()); });
      output.text() += "}\n";
    }
    output.flush();
  }
  return kExitOk;
}

constexpr const char* kExamples = R"(Examples:
  octobert tokenize model.octo "Angela Merkel met Tim Cook."
  octobert tokenize path/to/checkpoint --jsonl --max-length 32 --stride 8 < pairs.jsonl

One JSON object a text:
  {"chunks":[{"ids","type_ids","special","words","offsets","byte_offsets"}]}
offsets are in Unicode code points; words is null for the tokens that the template adds. A pair's chunks also have
"sequences": 0 or 1 for each token, the text that it comes from. Nothing is cut without --max-length.

Exit status: 0; 1 if a file or a text has a fault; 2 for a wrong command line.)";

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TokenizeFlags>();
  flags->input.pairs = true;
  CLI::App* command = app.add_subcommand("tokenize", "Texts in, token ids and offsets out");
  command->footer(kExamples);
  command->add_option("MODEL", flags->source, "Packed model, or a folder with a tokenizer")
      ->required()
      ->type_name("M.octo|TOKENIZER_DIR");
  add_input_options(*command, flags->input);
  auto* length = command
                     ->add_option("--max-length", flags->options.max_length,
                                  "Tokens in a chunk, specials included; the rest goes on in further chunks")
                     ->check(CLI::PositiveNumber.description(""))
                     ->type_name("N");
  command->add_option("--stride", flags->options.stride, "Tokens that consecutive chunks share")
      ->needs(length)
      ->type_name("N");
  add_text_policy(*command, flags->policy);
  command->callback([flags, &action] { action = [flags] { return run_tokenize(*flags); }; });
}

}  // namespace octobert::apps
