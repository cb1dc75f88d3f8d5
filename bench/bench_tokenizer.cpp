// Tokenizer alone: bytes and tokens a second, offsets included, warm, one thread.
//   bench_tokenizer                              the bundled tokenizer on the bundled English sentences
//   bench_tokenizer --shared=../shared           more of them, and the multilingual texts
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "converter/tokenizer_import.h"
#include "octobert/tokenizer.h"

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = OCTOBERT_SOURCE_DIR;

// Sentences of a token-a-line file (word TAB label, empty line between sentences), words joined by spaces.
std::vector<std::string> sentences(const fs::path& path) {
  std::vector<std::string> texts(1);
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) {
      if (!texts.back().empty()) texts.emplace_back();
      continue;
    }
    if (!texts.back().empty()) texts.back() += ' ';
    texts.back() += line.substr(0, line.find('\t'));
  }
  if (texts.back().empty()) texts.pop_back();
  return texts;
}

std::vector<std::string> json_strings(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> texts;
  for (const fs::path& file : files) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) texts.push_back(nlohmann::json::parse(line).get<std::string>());
  }
  return texts;
}

void run(benchmark::State& state, const octobert::Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  octobert::Encodings out;
  size_t tokens = 0;
  for (auto _ : state) {
    for (const std::string& text : texts) {
      tokenizer.encode(text, {}, out);
      tokens += out.chunks[0].size();
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * static_cast<int64_t>(state.iterations()));
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}

void open_frozen(benchmark::State& state, const std::vector<std::byte>& bytes) {
  for (auto _ : state) benchmark::DoNotOptimize(octobert::Tokenizer::from_frozen(bytes, "bench"));
}

struct Set {
  std::string name;
  octobert::converter::LoadedTokenizer tokenizer;
  std::vector<std::string> texts;
};

void add(std::vector<Set>& sets, const std::string& name, const fs::path& tokenizer, std::vector<std::string> texts) {
  sets.push_back({name, octobert::converter::load_tokenizer(tokenizer), std::move(texts)});
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  fs::path shared;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with("--shared=")) {
      std::fprintf(stderr, "bench_tokenizer: unknown argument \"%s\"\n", argv[i]);
      return 2;
    }
    shared = argument.substr(9);
  }
  const fs::path bundled = kRoot / "models" / "minilm-ner";
  std::vector<Set> sets;
  sets.reserve(8);
  add(sets, "english_E1", bundled, sentences(kRoot / "data" / "ner" / "E1.tsv"));
  if (!shared.empty()) {
    add(sets, "english_train", bundled, sentences(shared / "data" / "ner" / "english" / "train.tsv"));
    const std::vector<std::string> texts = json_strings(shared / "data" / "text");
    add(sets, "text_uncased", bundled, texts);
    add(sets, "text_multilingual", shared / "tokenizers" / "bert-base-multilingual-cased", texts);
    std::string all;
    for (const std::string& sentence : sets[1].texts) all += sentence + "\n";
    add(sets, "english_train_one_text", bundled, {all});
  }
  for (const Set& set : sets) {
    benchmark::RegisterBenchmark(("encode/" + set.name).c_str(), [&set](benchmark::State& state) {
      run(state, set.tokenizer.tokenizer, set.texts);
    })->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("open/" + set.name).c_str(), [&set](benchmark::State& state) {
      open_frozen(state, set.tokenizer.bytes);
    })->Unit(benchmark::kMicrosecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
