#include "tokenizer/decode.h"

#include <utility>

namespace octobert {
namespace {

// Replacements made one after the other in each token, in this order.
constexpr std::pair<std::string_view, std::string_view> kCleanups[] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

// Left to right, without looking at what was replaced again.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

void decode_wordpiece(std::string_view token, bool first, std::string_view prefix, bool cleanup, std::string& scratch,
                      std::string& out) {
  scratch.clear();
  if (!first && token.starts_with(prefix)) {
    token.remove_prefix(prefix.size());
  } else if (!first) {
    scratch += ' ';
  }
  scratch += token;
  if (cleanup && scratch.find(' ') != std::string::npos) {
    for (const auto& [from, to] : kCleanups) replace_all(scratch, from, to);
  }
  out += scratch;
}

}  // namespace octobert
