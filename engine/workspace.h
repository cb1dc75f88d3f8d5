// The scratch memory of a forward pass: one block, sized by the batch, kept and reused.
#ifndef OCTOBERT_ENGINE_WORKSPACE_H_
#define OCTOBERT_ENGINE_WORKSPACE_H_

#include <cstdint>
#include <span>

#include "engine/aligned_buffer.h"
#include "engine/format.h"
#include "octobert/engine.h"

namespace octobert {

// Rows of a matrix of activations: floats, and what dynamic products read of them, int8 with a scale a row.
struct ActivationRows {
  float* data = nullptr;  // [rows][stride]
  size_t stride = 0;
  uint8_t* q = nullptr;  // [rows][q_stride] activation bytes
  size_t q_stride = 0;
  float* scale = nullptr;  // [rows]

  ActivationRows from(int row) const {
    const auto r = static_cast<size_t>(row);
    return {data + r * stride, stride, q + r * q_stride, q_stride, scale + r};
  }
};

// Some queries of one text, a unit of work of attention (for one head).
struct AttentionItem {
  int32_t first_token, length;  // the text
  int32_t row_begin, row_end;   // the queries, in the text
};

// The state of one forward pass between its parts (engine/bert.h), and the memory for it. Used by one call at a time.
class BertState {
 public:
  // Lays out the buffers for a batch of tokens and so many workers. Allocates only if it needs more than ever before.
  void prepare(const format::ModelConfig& config, const PackedBatch& batch, int workers);

  // How many rows one worker takes through the layer's products at once: their widest intermediate result, which
  // lives between two products, is to stay in the core's L2.
  static int block_rows(const format::ModelConfig& config);
  // Tokens in a call of which the engine works on at once (as whole sequences; one longer than this by itself).
  static int token_budget(const format::ModelConfig& config, int workers);

  int tokens = 0, workers = 1;
  PackedBatch batch;
  bool hidden_is_quantized = false;  // hidden.q and hidden.scale belong to hidden.data

  ActivationRows hidden;               // [tokens][hidden_size], input and output of each layer
  ActivationRows context;              // [tokens][hidden_size], output of attention
  ActivationRows qkv;                  // [tokens][3 hidden_size], floats only
  int32_t* positions = nullptr;        // [tokens]
  std::span<AttentionItem> attention;  // every text's queries, once
  // Rows that a worker (or all, together) take from attention to the layer's output.
  struct Block {
    ActivationRows output;   // [rows][max(hidden_size, label_count)] of attention_output, ffn2 and the classifier
    ActivationRows ffn;      // [rows][intermediate_size]
    uint32_t* row_max_bits;  // [rows]
  };
  Block block(int worker) const;
  int block_capacity() const { return block_rows_; }  // rows of a Block
  int block_count() const { return block_count_; }    // how many Blocks there are: 1 or `workers`

  // Memory of one worker: attention's scratch, panels of unpacked weights (never both at once).
  struct Scratch {
    std::byte* data;
    size_t size;
    uint32_t* row_max_bits;  // [block_capacity()], for workers that share a Block
  };
  Scratch scratch(int worker) const;

  size_t allocated_bytes() const { return memory_.size(); }

 private:
  void plan_attention(const format::ModelConfig& config);

  AlignedBuffer memory_;
  int block_rows_ = 0, block_count_ = 1;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_WORKSPACE_H_
