// A static model made from another one by the plainest calibration: the smallest and largest value of every site over
// one batch. What a test of the engine needs; the converter has its own.
#ifndef OCTOBERT_TESTS_STATIC_MODEL_H_
#define OCTOBERT_TESTS_STATIC_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "engine/aligned_buffer.h"
#include "engine/model.h"
#include "octobert/engine.h"

namespace octobert::test {

class StaticModel {
 public:
  // `floats` (whose weights are float or int8) must outlive this object: norms and embeddings stay its own. The batch
  // is what the ranges are taken from. `margin` widens them; below 1 it makes the model clip.
  StaticModel(const BertModel& floats, const PackedBatch& batch, float margin = 1.0f);
  const BertModel& model() const { return model_; }

 private:
  struct Range {
    float low = 0, high = 0;
  };
  template <class T>
  T* allocate(size_t count);
  void observe(const BertModel& floats, const PackedBatch& batch);
  Range range(const std::string& site, size_t begin, size_t count) const;
  Linear linear(const Linear& floats, Range input);
  void make_attention(EncoderLayer& layer, const std::string& name);

  float margin_;
  std::map<std::string, std::vector<Range>> sites_;  // by column
  std::deque<AlignedBuffer> storage_;
  BertModel model_;
};

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_STATIC_MODEL_H_
