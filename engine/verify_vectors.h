// The test vectors of a packed file: texts with the ids and logits that the model gave where it was converted.
#ifndef OCTOBERT_ENGINE_VERIFY_VECTORS_H_
#define OCTOBERT_ENGINE_VERIFY_VECTORS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model_file.h"
#include "octobert/engine.h"

namespace octobert {

struct TestVectorView {
  std::string_view text;
  std::span<const int32_t> ids;
  std::span<const float> logits;  // [ids.size()][label_count]
};

// Views into the file; none if it has no such section. Lengths, ids and label counts are checked against the model.
// Throws Error(kFormat).
std::vector<TestVectorView> read_test_vectors(const ModelFile& file);

struct VectorMismatch {
  size_t vector;        // index
  std::string message;  // what differs first: an id, a logit, with both values
};

struct VectorReport {
  size_t vectors = 0, tokens = 0;
  std::vector<VectorMismatch> mismatches;
};

// Replays every vector: the tokenizer must give its ids, the model its logits bit for bit. A mismatch means that this
// copy of the file, this build or this CPU can't be trusted. Throws what Engine::logits throws.
VectorReport verify_vectors(const Engine& engine);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_VERIFY_VECTORS_H_
