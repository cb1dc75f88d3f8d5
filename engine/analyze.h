// Text -> windows -> logits -> entities: what one call of Engine::analyze() works with.
#ifndef OCTOBERT_ENGINE_ANALYZE_H_
#define OCTOBERT_ENGINE_ANALYZE_H_

#include <cstdint>
#include <vector>

#include "engine/entities_reference.h"
#include "engine/entities_words.h"
#include "engine/entity_writer.h"
#include "octobert/engine.h"

namespace octobert {

// A window of a text: some of its tokens between the template's specials, as the model sees them. They lie in rows of
// a batch. Neighbouring windows overlap; each token is looked at in the window where it is `owned`.
struct Window {
  size_t text = 0;                    // which of the call's
  size_t row = 0;                     // of the batch: the first token that is not the template's
  size_t size = 0;                    // tokens, the template's not counted
  size_t own_begin = 0, own_end = 0;  // among these; for the reference strategies all of them
  int32_t first_index = 0;            // specials before the first token
  bool first = true, last = true;     // of its text
};

// Tokens [begin, end) of a text of `tokens` that window number `index` shows, and those it owns: each token belongs to
// the window that shows the most of what is around it, counted in tokens to the nearer border of the window (a border
// of the text is no border); the earlier window of equals. Windows of `room` tokens overlap by `stride` < room.
struct WindowExtent {
  size_t begin, end, own_begin, own_end;
};
WindowExtent window_extent(size_t index, size_t tokens, size_t room, size_t stride);

// The memory of a call, kept and reused: a warm call allocates nothing.
struct AnalyzeScratch {
  Workspace workspace;
  EntityRules rules;
  EntityWriter writer;
  WordsDecoder words_decoder;
  ReferenceDecoder reference_decoder;

  Encodings encodings;  // of the text that is being cut into windows
  // The batch: one row a token. Of the template's specials only ids and type_ids mean something.
  std::vector<int32_t> ids, type_ids, words;
  std::vector<Span> bytes, codepoints;
  std::vector<int32_t> offsets;      // [windows + 1]
  std::vector<float> probabilities;  // [rows][labels]
  std::vector<Window> windows;

  // analyze_words: where each word begins in the joined text; the context that its label was seen with, plus 1.
  std::vector<Span> word_begins;  // {bytes, code points}
  std::vector<uint32_t> word_contexts;
  std::vector<float> pooled;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ANALYZE_H_
