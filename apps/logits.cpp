// octobert logits: texts or ids in, a safetensors file of ids and logits out.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apps/command.h"
#include "apps/input.h"
#include "converter/safetensors.h"

namespace octobert::apps {
namespace {

struct LogitsOptions {
  std::string model, output;
  OpenOptions open;
  InputOptions input;
  TextPolicy policy;
  bool ids = false;
};

// `ids.N` and `logits.N` of the N-th text.
struct Result {
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

class LogitsRunner {
 public:
  explicit LogitsRunner(const LogitsOptions& options)
      : options_(options), engine_(Engine::open(options.model, options.open)), limit_(window(engine_)) {}

  void run() {
    TextReader reader(options_.input, options_.policy.invalid_utf8);
    std::vector<InputText> batch;
    while (reader.next(batch)) {
      const size_t first = results_.size();
      for (const InputText& item : batch) {
        results_.push_back({options_.ids ? parse_ids(item) : tokenize(item), {}});
      }
      compute(std::span(results_).subspan(first));
    }
    write();
  }

 private:
  // Tokens that one call of the model takes: its position table, or less if the tokenizer says so.
  static size_t window(const Engine& engine) {
    const auto positions = static_cast<size_t>(engine.info().max_positions);
    const size_t tokenizer = engine.tokenizer().model_max_length();
    return tokenizer == 0 ? positions : std::min(positions, tokenizer);
  }

  std::vector<int32_t> tokenize(const InputText& item) {
    TokenizeOptions tokenize;
    tokenize.max_length = limit_;
    tokenize.special_tokens_in_text = options_.policy.special_tokens;
    tokenize.invalid_utf8 = options_.policy.invalid_utf8;
    try {
      if (item.pre_tokenized) {
        const std::vector<std::string_view> words(item.words.begin(), item.words.end());
        engine_.tokenizer().encode_words(words, tokenize, encodings_);
      } else {
        engine_.tokenizer().encode(item.text, tokenize, encodings_);
      }
    } catch (const Error& error) {
      throw Error(error.code(), item.origin + ": " + error.what());
    }
    if (encodings_.count > 1) say_cut(item);
    return encodings_.chunks.front().ids;
  }

  std::vector<int32_t> parse_ids(const InputText& item) const {
    std::vector<int32_t> ids = parse_id_array(item.text, item.origin, engine_.info().vocab_size);
    if (ids.empty()) throw Error(ErrorCode::kInvalidInput, item.origin + ": expected at least one id, found none");
    if (ids.size() > limit_) {
      say_cut(item);
      ids.resize(limit_);
    }
    return ids;
  }

  void say_cut(const InputText& item) const {
    print_message(fmt::format("{}: cut at {} tokens, the model's limit", item.origin, limit_));
  }

  // One packed run of all the texts; their results are cut out of it.
  void compute(std::span<Result> results) {
    std::vector<int32_t> ids, offsets = {0};
    for (const Result& result : results) {
      ids.insert(ids.end(), result.ids.begin(), result.ids.end());
      offsets.push_back(static_cast<int32_t>(ids.size()));
    }
    const auto labels = static_cast<size_t>(engine_.info().label_count);
    std::vector<float> logits(ids.size() * labels);
    engine_.logits({ids, {}, offsets}, logits, workspace_);
    auto from = logits.begin();
    for (Result& result : results) {
      const auto to = from + static_cast<std::ptrdiff_t>(result.ids.size() * labels);
      result.logits.assign(from, to);
      from = to;
    }
  }

  void write() const {
    const auto labels = static_cast<uint64_t>(engine_.info().label_count);
    std::vector<converter::TensorToWrite> tensors;
    for (size_t n = 0; n < results_.size(); ++n) {
      const Result& result = results_[n];
      const uint64_t tokens = result.ids.size();
      tensors.push_back(
          {fmt::format("ids.{}", n), converter::DataType::kI32, {tokens}, std::as_bytes(std::span(result.ids))});
      tensors.push_back({fmt::format("logits.{}", n),
                         converter::DataType::kF32,
                         {tokens, labels},
                         std::as_bytes(std::span(result.logits))});
    }
    converter::write_safetensors(options_.output, tensors);
  }

  const LogitsOptions& options_;
  Engine engine_;
  size_t limit_;
  Workspace workspace_;
  Encodings encodings_;
  std::vector<Result> results_;
};

constexpr const char* kExamples = R"(Examples:
  octobert logits model.octo --file texts.txt -o logits.safetensors
  echo '[101, 7592, 102]' | octobert logits model.octo --ids -o logits.safetensors

For the N-th text, counted from 0, the file holds ids.N (int32 [S]) and logits.N (float32 [S, labels]). A text that is
longer than the model's limit is cut there, with a note on standard error.

Exit status: 0; 1 if a file or a text has a fault (nothing is written then); 2 for a wrong command line.)";

}  // namespace

void add_logits(CLI::App& app, Action& action) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand("logits", "The model's raw output, as a safetensors file");
  command->footer(kExamples);
  command->add_option("MODEL", options->model, "Packed model")->required()->type_name("M.octo");
  add_input_options(*command, options->input);
  auto* ids = command->add_flag("--ids", options->ids, "A line is a JSON array of ids instead of a text");
  command->get_option("--jsonl")->excludes(ids);
  command->add_option("-o,--output", options->output, "The file to write")->required()->type_name("OUT.safetensors");
  add_text_policy(*command, options->policy);
  add_engine_options(*command, options->open);
  command->callback([options, &action] {
    action = [options] {
      LogitsRunner(*options).run();
      return kExitOk;
    };
  });
}

}  // namespace octobert::apps
