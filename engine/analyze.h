// Text -> windows -> logits -> entities: the memory that one call of Engine::analyze() works in.
#ifndef OCTOBERT_ENGINE_ANALYZE_H_
#define OCTOBERT_ENGINE_ANALYZE_H_

#include <cstdint>
#include <vector>

#include "engine/entities_reference.h"
#include "engine/entities_words.h"
#include "engine/entity_writer.h"
#include "engine/windows.h"
#include "octobert/engine.h"

namespace octobert {

// Some of a text's tokens between the template's specials, as the model sees them: consecutive rows of a batch.
struct Window {
  size_t text = 0;                    // which of the call's
  size_t row = 0;                     // of the batch: the first token that is not the template's
  size_t size = 0;                    // tokens, the template's not counted
  size_t own_begin = 0, own_end = 0;  // among these, see window_extent(); all of them for the tokenizer's chunks
  int32_t first_index = 0;            // specials before the first token
  bool first = true, last = true;     // of its text
};

// Kept and reused: a warm call allocates nothing.
struct AnalyzeScratch {
  Workspace workspace;
  EntityRules rules;
  EntityWriter writer;
  WordsDecoder words_decoder;
  ReferenceDecoder reference_decoder;

  Encodings encodings;  // of the text, or part of a text, that is being cut into windows
  TokenStream stream;

  TokenRows batch;  // of the template's specials only ids and type_ids mean something
  std::vector<Window> windows;
  std::vector<int32_t> offsets;      // [windows + 1]
  std::vector<float> probabilities;  // [batch][labels]

  // analyze_words: where each word begins in the joined text {bytes, code points}; with how much around it its label
  // was seen, plus 1.
  std::vector<Span> word_begins;
  std::vector<uint32_t> word_contexts;
  std::vector<float> pooled;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ANALYZE_H_
