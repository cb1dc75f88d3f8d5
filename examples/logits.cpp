// Below the entities: the tokenizer and the logits by themselves. Prints each token with its likeliest label.
#include <algorithm>
#include <iostream>
#include <vector>

#include "octobert/engine.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: logits M.octo TEXT\n";
    return 2;
  }
  try {
    const auto engine = octobert::Engine::open(argv[1], {.threads = 1});
    const octobert::Tokenizer& tokenizer = engine.tokenizer();

    octobert::TokenizeOptions options;
    options.max_length = static_cast<size_t>(engine.info().max_positions);
    octobert::Encodings encodings;
    tokenizer.encode(argv[2], options, encodings);
    const auto& ids = encodings.chunks.front().ids;

    // A batch is one packed run of tokens: text i is [offsets[i], offsets[i + 1]). Here there is one text.
    const std::vector<int32_t> offsets = {0, static_cast<int32_t>(ids.size())};
    const size_t labels = engine.labels().size();
    std::vector<float> logits(ids.size() * labels);
    octobert::Workspace workspace;  // keep it for the next call: a warm call allocates nothing
    engine.logits({.ids = ids, .type_ids = {}, .offsets = offsets}, logits, workspace);

    for (size_t i = 0; i < ids.size(); ++i) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * labels);
      const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(labels));
      std::cout << tokenizer.token(ids[i]) << '\t' << engine.labels()[static_cast<size_t>(best - row)] << '\n';
    }
  } catch (const octobert::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
