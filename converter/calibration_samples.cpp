#include "converter/calibration_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <unordered_map>
#include <utility>

#include "converter/calibration_texts.h"
#include "converter/input_file.h"
#include "converter/json.h"
#include "converter/provenance.h"
#include "converter/text_lines.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr size_t kLeastTokens = 64;  // a few sentences: less says nothing about ranges
constexpr size_t kEveryNthJoined = 16;
constexpr size_t kBytesPerToken = 6;  // more than most have: what is too long is cut to the window

using UseText = std::function<void(Sentence&& text)>;

bool ends_with_one_of(const std::string& file, std::span<const std::string_view> endings) {
  const std::string extension = std::filesystem::path(file).extension().string();
  return std::find(endings.begin(), endings.end(), extension) != endings.end();
}

std::string text_of_json(std::string_view line, TextLines& lines) {
  const std::string where = lines.where();
  try {
    return json_text(parse_json_line(line, where), where).text;
  } catch (const Error&) {
    lines.check_rest();
    throw;
  }
}

void read_lines(TextLines& lines, bool json, const UseText& use) {
  while (const auto line = lines.next()) {
    if (line->find_first_not_of(" \t") == line->npos) continue;
    use({{json ? text_of_json(*line, lines) : std::string(*line)}, {}});
  }
}

// Returns the file's SHA-256.
std::string read_file(const std::string& file, const UseText& use) {
  Sha256 hash;
  TextLines lines(file, kMaxCorpusBytes, &hash);
  if (is_named_conll(file)) {
    for (Sentence text; read_conll_sentence(lines, text);) use(std::move(text));
  } else {
    read_lines(lines, is_named_json_lines(file), use);
  }
  return hash.finish();
}

size_t window(const Engine& model) {
  const auto positions = static_cast<size_t>(model.info().max_positions);
  const size_t configured = model.tokenizer().model_max_length();
  return configured == 0 ? positions : std::min(positions, configured);
}

size_t bytes_of(const Sentence& text) {
  size_t bytes = 0;
  for (const std::string& word : text.words) bytes += word.size() + 1;
  return bytes;
}

// Which texts are to be samples.
struct SamplePlan {
  size_t available, count, window;

  size_t first_text(size_t sample) const { return sample * available / count; }
  bool is_joined(size_t sample) const { return sample % kEveryNthJoined == kEveryNthJoined - 1; }
  // Of a joined sample: texts are added until it has so many.
  size_t bytes(size_t sample) const { return (window >> (3 - sample / kEveryNthJoined % 4)) * kBytesPerToken; }
};

using KeptTexts = std::unordered_map<size_t, Sentence>;  // by index

// The texts that the samples are made of.
KeptTexts read_samples(const CalibrationTexts& texts, const SamplePlan& plan) {
  KeptTexts kept;
  size_t sample = 0;
  // How many bytes of the texts that come next belong to a sample; at first, to the last one that is joined, which
  // goes on at the front.
  size_t wanted = plan.window * kBytesPerToken;
  texts.for_each([&](size_t index, Sentence&& text) {
    if (sample < plan.count && plan.first_text(sample) == index) {
      wanted = std::max(wanted, plan.is_joined(sample) ? plan.bytes(sample) : 1);
      ++sample;
    }
    if (wanted == 0) return;
    wanted -= std::min(wanted, bytes_of(text));
    kept.emplace(index, std::move(text));
  });
  return kept;
}

// Texts from the sample's first on, around the end to the front.
Sentence joined(const KeptTexts& texts, bool by_words, const SamplePlan& plan, size_t sample) {
  Sentence result;
  size_t bytes = 0;
  for (size_t i = 0; i < plan.available && bytes < plan.bytes(sample); ++i) {
    const Sentence& text = texts.at((plan.first_text(sample) + i) % plan.available);
    if (by_words || result.words.empty()) {
      result.words.insert(result.words.end(), text.words.begin(), text.words.end());
    } else {
      result.words.front() += " " + text.words.front();
    }
    bytes += bytes_of(text);
  }
  return result;
}

}  // namespace

bool is_named_conll(const std::string& file) { return ends_with_one_of(file, kConllEndings); }
bool is_named_json_lines(const std::string& file) { return ends_with_one_of(file, kJsonLinesEndings); }

CalibrationTexts::CalibrationTexts(const std::string& file)
    : file_(file), by_words_(file != "builtin" && is_named_conll(file)) {
  if (file == "builtin") {
    source_ = file;
    count_ = builtin_calibration_texts().size();
    return;
  }
  const InputFile regular(file);  // a pipe can't be read twice
  source_ = read_file(file, [this](Sentence&&) { ++count_; });
  if (count_ == 0) throw Error(ErrorCode::kFormat, file + ": there is no text to calibrate on");
}

std::string CalibrationTexts::name() const { return std::filesystem::path(file_).filename().string(); }

void CalibrationTexts::for_each(const std::function<void(size_t index, Sentence&& text)>& use) const {
  size_t in_file = 0, index = 0;
  const auto use_next = [&](Sentence&& text) {
    if (!is_held_out(in_file++, held_out_every_)) use(index++, std::move(text));
  };
  if (file_ == "builtin") {
    for (std::string& text : builtin_calibration_texts()) use_next({{std::move(text)}, {}});
    return;
  }
  const std::string source = read_file(file_, use_next);
  if (source == source_) return;
  throw Error(ErrorCode::kIo, fmt::format("{}: changed while it was used: its SHA-256 was {} when its {} texts were "
                                          "counted, then {}",
                                          file_, source_, count_, source));
}

EncodedTexts encode_samples(const Engine& model, const CalibrationTexts& texts, size_t samples,
                            std::vector<std::string>& warnings) {
  const SamplePlan plan{texts.size(), std::min(samples, texts.size()), window(model)};
  if (plan.available < samples && texts.source() != "builtin") {
    warnings.push_back(fmt::format("calibration: the file has {} texts, fewer than {} samples: all are used",
                                   plan.available, samples));
  }
  const KeptTexts kept = read_samples(texts, plan);
  TokenizeOptions options;
  options.max_length = plan.window;
  Encodings encodings;
  std::vector<std::string_view> words;
  EncodedTexts encoded;
  for (size_t i = 0; i < plan.count; ++i) {
    const Sentence sample = plan.is_joined(i) ? joined(kept, texts.by_words(), plan, i) : kept.at(plan.first_text(i));
    words.assign(sample.words.begin(), sample.words.end());
    if (texts.by_words()) {
      model.tokenizer().encode_words(words, options, encodings);
    } else {
      model.tokenizer().encode(words.front(), options, encodings);
    }
    const Encoding& chunk = encodings.chunks.front();
    encoded.ids.insert(encoded.ids.end(), chunk.ids.begin(), chunk.ids.end());
    encoded.offsets.push_back(static_cast<int32_t>(encoded.ids.size()));
  }
  if (encoded.ids.size() < kLeastTokens) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("calibration: the texts have {} tokens, expected {} or more",
                                                      encoded.ids.size(), kLeastTokens));
  }
  return encoded;
}

}  // namespace octobert::converter
