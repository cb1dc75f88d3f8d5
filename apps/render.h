// What `octobert run` prints about one text.
#ifndef OCTOBERT_APPS_RENDER_H_
#define OCTOBERT_APPS_RENDER_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/input.h"
#include "octobert/engine.h"

namespace octobert::apps {

// The label without the prefix of its tagging scheme: "B-PER" -> "PER".
std::string_view label_group(std::string_view label);

// One JSON object and a line break.
void render_json(const InputText& item, const Analysis& analysis, const AnalyzeOptions& options,
                 std::span<const std::string> labels, std::string& out);

// WORD TAB LABEL, a word a line, and an empty line at the end. White space inside a word becomes a space.
void render_conll(const InputText& item, const Analysis& analysis, const Tokenizer& tokenizer,
                  const AnalyzeOptions& options, std::string& out);

// The text with its entities marked: in colour, or in brackets.
class TextRenderer {
 public:
  TextRenderer(std::span<const std::string> labels, bool colour, bool terminal);
  void render(std::string_view text, const Analysis& analysis, std::string& out) const;

 private:
  void append(std::string_view text, std::string& out) const;
  std::string_view colour_of(std::string_view group) const;

  std::vector<std::string> groups_;  // in the model's order
  bool colour_, terminal_;
};

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_RENDER_H_
