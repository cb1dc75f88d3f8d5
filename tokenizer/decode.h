// Tokens -> text: the reference's WordPiece decoder.
#ifndef OCTOBERT_TOKENIZER_DECODE_H_
#define OCTOBERT_TOKENIZER_DECODE_H_

#include <span>
#include <string>
#include <string_view>

namespace octobert {

// Appends one token, `first` of its run or not. `scratch` is reused.
void decode_wordpiece(std::string_view token, bool first, std::string_view prefix, bool cleanup, std::string& scratch,
                      std::string& out);

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_DECODE_H_
