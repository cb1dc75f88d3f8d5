// forward MODEL.octo TOKENS CALLS: logits of one text of TOKENS tokens, CALLS times, on one thread. For counting its
// instructions under an emulator (scripts/arm_instructions.sh): the difference of two counts of calls is the calls
// alone.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "octobert/engine.h"

namespace {

int number(const char* text) {
  int value = 0;
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

void run(const char* path, int tokens, int calls) {
  const octobert::Engine engine = octobert::Engine::open(path, {.threads = 1});
  const size_t vocab = static_cast<size_t>(engine.info().vocab_size);
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % vocab);
  const std::vector<int32_t> offsets = {0, tokens};
  std::vector<float> logits(ids.size() * engine.labels().size());
  octobert::Workspace workspace;
  for (int i = 0; i < calls; ++i) engine.logits({.ids = ids, .type_ids = {}, .offsets = offsets}, logits, workspace);
  std::printf("%s, first logit %a\n", std::string(engine.isa()).c_str(), static_cast<double>(logits[0]));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: forward MODEL.octo TOKENS CALLS\n");
    return 2;
  }
  try {
    run(argv[1], number(argv[2]), number(argv[3]));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "forward: %s\n", e.what());
    return 1;
  }
}
