#include "converter/tune_texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "converter/provenance.h"
#include "converter/report_fill.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr size_t kFewestTexts = 2 * kHoldOut;
// Divergences are smooth: some thousand tokens rank products as all of them do, in a fraction of the time.
constexpr size_t kSampleTokens = 4000;

struct File {
  std::filesystem::path path;
  bool by_words;
  std::vector<Sentence> texts;
};

File read_lines(const std::filesystem::path& path) {
  if (is_named_conll(path.string())) {
    throw Error(ErrorCode::kInvalidInput,
                path.string() + ": by its name a file of words and labels: give it as such (--conll)");
  }
  File file{path, false, {}};
  CalibrationTexts(path.string()).for_each([&file](size_t, Sentence&& text) { file.texts.push_back(std::move(text)); });
  return file;
}

void append(const EncodedTexts& part, EncodedTexts& all) {
  const auto base = static_cast<int32_t>(all.ids.size());
  all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
  for (size_t i = 1; i < part.offsets.size(); ++i) all.offsets.push_back(base + part.offsets[i]);
  for (std::vector<int32_t> pieces : part.first_pieces) {
    for (int32_t& piece : pieces) piece += piece < 0 ? 0 : base;
    all.first_pieces.push_back(std::move(pieces));
  }
}

// The file's texts for whose index wanted(i) holds.
template <class Predicate>
void add_part(const File& file, const Engine& model, TunePart& part, const Predicate& wanted) {
  std::vector<Sentence> chosen;
  for (size_t i = 0; i < file.texts.size(); ++i) {
    if (wanted(i)) chosen.push_back(file.texts[i]);
  }
  if (file.by_words) {
    append(encode_sentences(model, chosen), part.encoded);
  } else {
    std::vector<std::string> lines;
    for (const Sentence& text : chosen) lines.push_back(text.words.front());
    append(encode_texts(model, lines), part.encoded);
    part.lines += lines.size();
  }
  part.sentences.insert(part.sentences.end(), std::make_move_iterator(chosen.begin()),
                        std::make_move_iterator(chosen.end()));
}

// Without a word there is nothing that could disagree.
void require_words(const EncodedTexts& encoded, const char* what) {
  for (const std::vector<int32_t>& pieces : encoded.first_pieces) {
    if (std::any_of(pieces.begin(), pieces.end(), [](int32_t piece) { return piece >= 0; })) return;
  }
  throw Error(ErrorCode::kInvalidInput, fmt::format("the texts have no words {}", what));
}

// What a budget of F1 needs labels for: without an entity there is no F1, and none that could be lost.
void require_entities(const TunePart& part, const char* what) {
  EntityScores scores;
  for (const Sentence& sentence : part.sentences) {
    const std::vector<std::string_view> labels(sentence.labels.begin(), sentence.labels.end());
    scores.add(labels, {});
  }
  if (scores.all.expected > 0) return;
  throw Error(ErrorCode::kInvalidInput,
              fmt::format("the sentences {} (every {}th is held out) have no entity, so no F1", what, kHoldOut));
}

void check_file(File& file, const Engine& model, bool for_f1, std::vector<std::string>& warnings) {
  if (file.texts.size() < kFewestTexts) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: {} texts, expected {} or more: every {}th is held out",
                                                      file.path.string(), file.texts.size(), kFewestTexts, kHoldOut));
  }
  if (!file.by_words) return;
  std::string warning = align_labels(file.path.string(), file.texts, model.labels(), for_f1);
  if (!warning.empty()) warnings.push_back(std::move(warning));
}

}  // namespace

TuneFiles read_tune_files(const TuneOptions& options, const Engine& model) {
  std::vector<File> files;
  for (const std::filesystem::path& path : options.texts) files.push_back(read_lines(path));  // first: TunePart::lines
  for (const std::filesystem::path& path : options.conll) files.push_back({path, true, read_conll(path)});
  TuneFiles result;
  for (File& file : files) {
    check_file(file, model, options.max_f1_loss.has_value(), result.warnings);
    add_part(file, model, result.tuned, [](size_t i) { return !is_held_out(i, kHoldOut); });
    add_part(file, model, result.held_out, [](size_t i) { return is_held_out(i, kHoldOut); });
    result.hashes.emplace_back(file.path.filename().string(), sha256_of_file(file.path));
  }
  require_words(result.tuned.encoded, "to tune on");
  require_words(result.held_out.encoded, "to hold out");
  if (options.max_f1_loss) {
    require_entities(result.tuned, "to tune on");
    require_entities(result.held_out, "to hold out");
  }
  const size_t step = std::max<size_t>(1, result.tuned.encoded.ids.size() / kSampleTokens);
  for (const File& file : files) {
    size_t number = 0;
    add_part(file, model, result.sample, [&](size_t i) { return !is_held_out(i, kHoldOut) && number++ % step == 0; });
  }
  return result;
}

CalibrationTexts calibration_texts_of(const TuneOptions& options, const TuneFiles& files, size_t& hold_out) {
  hold_out = 0;
  const std::string first = (options.conll.empty() ? options.texts : options.conll).front().string();
  const std::string& named = options.convert.calibration.texts;
  const std::string file = named.empty() ? first : named;
  CalibrationTexts texts(file);
  // By what is in them: a copy holds the same texts.
  const auto is_file = [&](const auto& name_and_hash) { return name_and_hash.second == texts.source(); };
  const auto first_conll = files.hashes.begin() + static_cast<ptrdiff_t>(options.texts.size());
  const bool lines = std::any_of(files.hashes.begin(), first_conll, is_file);
  const bool words = std::any_of(first_conll, files.hashes.end(), is_file);
  if (words && !texts.by_words()) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("{}: calibration knows files of words and labels by their name: call it {}", file,
                            fmt::join(kConllEndings, " or ")));
  }
  if (!lines && !words) return texts;
  hold_out = kHoldOut;
  texts.leave_out_held(hold_out);
  return texts;
}

void report_part(const std::string& source, const TunePart& part, const Comparison& comparison, const Engine& engine,
                 ReportData& report) {
  const std::span<const Sentence> texts = part.sentences;
  std::vector<std::string> lines;
  for (const Sentence& text : texts.first(part.lines)) lines.push_back(text.words.front());
  add_comparison(source, comparison, engine, lines, texts.subspan(lines.size()), report);
}

}  // namespace octobert::converter
