// octobert's side of the text measurements, timed inside a process as the peers' are.
//
//   peers_text_probe entities MODEL.octo THREADS ISA SECONDS FILE   Engine::analyze; an empty line ends a batch
//   peers_text_probe tokenize MODEL.octo THREADS ISA SECONDS FILE   Tokenizer::encode, one text a call
//   peers_text_probe open     MODEL.octo THREADS ISA SECONDS -      Engine::open
//   peers_text_probe ids      MODEL.octo THREADS ISA 0 FILE         prints each text's ids, for comparison
//
// FILE has one text a line. ISA "" is the best one. A repetition is one pass over the file; one JSON line comes out.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/engine.h"

namespace {

using octobert::Engine;

struct Batches {
  std::vector<std::string> lines;
  std::vector<std::vector<std::string_view>> batches;  // views of the lines
};

Batches read_batches(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  Batches out;
  for (std::string line; std::getline(file, line);) out.lines.push_back(line);
  out.batches.emplace_back();
  for (const std::string& line : out.lines) {
    if (!line.empty()) {
      out.batches.back().push_back(line);
    } else if (!out.batches.back().empty()) {
      out.batches.emplace_back();
    }
  }
  if (out.batches.back().empty()) out.batches.pop_back();
  if (out.batches.empty()) throw std::runtime_error(path + ": no text in it");
  return out;
}

// Times `once` for about `seconds` after a warm-up, and prints the median.
template <class Once>
void time_repetitions(double seconds, Once once) {
  using Clock = std::chrono::steady_clock;
  constexpr double kWarmUpSeconds = 0.15;
  constexpr size_t kLeastRepetitions = 3;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  for (const auto begin = Clock::now(); since(begin) < kWarmUpSeconds;) once();
  std::vector<double> times;
  for (const auto begin = Clock::now(); since(begin) < seconds || times.size() < kLeastRepetitions;) {
    const auto before = Clock::now();
    once();
    times.push_back(since(before) * 1e3);
  }
  std::sort(times.begin(), times.end());
  std::printf("{\"median_ms\": %.6f}\n", times[times.size() / 2]);
}

void time_entities(const Engine& engine, const Batches& texts, double seconds) {
  size_t largest = 0;
  for (const auto& batch : texts.batches) largest = std::max(largest, batch.size());
  std::vector<octobert::Analysis> results(largest);
  time_repetitions(seconds, [&] {
    for (const auto& batch : texts.batches) engine.analyze(batch, {}, std::span(results).first(batch.size()));
  });
}

void time_tokenizer(const Engine& engine, const Batches& texts, double seconds) {
  octobert::Encodings encodings;
  time_repetitions(seconds, [&] {
    for (const auto& batch : texts.batches) {
      for (const std::string_view text : batch) engine.tokenizer().encode(text, {}, encodings);
    }
  });
}

void print_ids(const Engine& engine, const Batches& texts) {
  octobert::Encodings encodings;
  for (const auto& batch : texts.batches) {
    for (const std::string_view text : batch) {
      engine.tokenizer().encode(text, {}, encodings);
      for (const int32_t id : encodings.chunks.at(0).ids) std::printf("%d ", id);
      std::printf("\n");
    }
  }
}

template <class Number>
Number parse(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::runtime_error("expected a number, found \"" + std::string(text) + "\"");
  }
  return number;
}

void run(char** arguments) {
  const std::string_view what = arguments[0];
  const std::string model = arguments[1];
  octobert::OpenOptions options;
  options.threads = parse<int>(arguments[2]);
  options.isa = arguments[3];
  const auto seconds = parse<double>(arguments[4]);
  if (what == "open") {
    time_repetitions(seconds, [&] { Engine::open(model, options); });
    return;
  }
  const Engine engine = Engine::open(model, options);
  const Batches texts = read_batches(arguments[5]);
  if (what == "entities") {
    time_entities(engine, texts, seconds);
  } else if (what == "tokenize") {
    time_tokenizer(engine, texts, seconds);
  } else if (what == "ids") {
    print_ids(engine, texts);
  } else {
    throw std::runtime_error("expected entities, tokenize, open or ids, found \"" + std::string(what) + "\"");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 7) throw std::runtime_error("usage: peers_text_probe WHAT MODEL.octo THREADS ISA SECONDS FILE");
    run(argv + 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peers_text_probe: %s\n", error.what());
    return 1;
  }
}
