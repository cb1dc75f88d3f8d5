// Truncation and post-processing template: tokens of one text or two -> the chunks that the caller gets.
#ifndef OCTOBERT_TOKENIZER_CHUNKS_H_
#define OCTOBERT_TOKENIZER_CHUNKS_H_

#include <span>

#include "octobert/tokenizer.h"
#include "tokenizer/frozen_view.h"
#include "tokenizer/text_encoder.h"

namespace octobert {

// Takes the tokens of scratch.tokens[0] and, for a pair, scratch.tokens[1]. Truncates `longest_first`, as
// tokenizers 0.23.3: first the main chunk, then its overflowing ones, for pairs each chunk of one text with each
// of the other. A max_length too short for the template's own tokens cuts nothing, as there.
// Throws Error(kInvalidInput) if the stride is not below the room for text, or the chunks would be far too many.
void make_chunks(const FrozenView& frozen, bool is_pair, const TokenizeOptions& options, EncodeScratch& scratch,
                 Encodings& out);

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_CHUNKS_H_
