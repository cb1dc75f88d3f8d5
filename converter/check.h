// Before a file is written: the float model and what is about to be written run side by side over test texts, part by
// part as the parts come, so that neither model is ever whole in memory.
#ifndef OCTOBERT_CONVERTER_CHECK_H_
#define OCTOBERT_CONVERTER_CHECK_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "converter/model_writer.h"
#include "converter/plan.h"
#include "converter/sqnr.h"
#include "engine/bert.h"
#include "octobert/converter.h"
#include "octobert/tokenizer.h"

namespace octobert::converter {

// Texts as one packed run of tokens, each cut so that it has at most `limit` tokens.
struct TestBatch {
  std::vector<std::string> texts;
  std::vector<int32_t> ids;      // [M]
  std::vector<uint8_t> special;  // [M] 1 for [CLS] and [SEP]
  std::vector<int32_t> offsets;  // [texts + 1]

  PackedBatch view() const { return {ids, {}, offsets}; }
};
TestBatch make_test_batch(const Tokenizer& tokenizer, std::span<const std::string> texts, size_t limit);

class Check {
 public:
  // with_float: whether there is a float model to compare with; without, only the test vectors are made.
  // The executor and the kernels must outlive this object.
  Check(Executor& executor, const KernelTable& kernels, const format::ModelConfig& config, TestBatch batch,
        bool with_float);

  bool with_float() const { return with_float_; }
  // The distinct ids of the batch, ascending: the rows of the word table that the float model needs.
  const std::vector<int32_t>& distinct_ids() const { return distinct_ids_; }

  // The parts in the order of computation. `floats` (null without a float model) is the float model's part; that of
  // embeddings() has only the words distinct_ids().
  void embeddings(const Embeddings* floats, const Embeddings& packed);
  void layer(uint32_t index, const EncoderLayer* floats, const EncoderLayer& packed, format::Scheme next);
  // Throws Error(kNumeric) if a logit of either model is not finite.
  void classifier(const Linear* floats, const Linear& packed);

  // After all parts:
  std::vector<LayerSqnr> sqnr() const { return meter_.result(); }
  // Tokens (specials excluded), and how many of them get the float model's label; 0 and 0 without a float model.
  size_t tokens() const { return tokens_; }
  size_t agreeing_tokens() const { return agreeing_tokens_; }
  std::vector<TestVector> test_vectors() const;

 private:
  void require_finite(std::span<const float> logits, const char* model) const;
  void count_agreement(std::span<const float> float_logits);
  std::span<const float> row(std::span<const float> logits, size_t token) const;

  format::ModelConfig config_;
  TestBatch batch_;
  bool with_float_;
  std::vector<int32_t> distinct_ids_, indices_;  // indices_: [M], of ids in distinct_ids_
  SqnrMeter meter_;
  Observer expect_, compare_;
  RunContext float_run_, packed_run_;
  BertState float_state_, packed_state_;
  std::vector<float> logits_;  // [M][label_count], of what will be written
  size_t tokens_ = 0, agreeing_tokens_ = 0;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CHECK_H_
