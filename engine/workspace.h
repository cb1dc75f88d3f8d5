// The scratch memory of a forward pass: one block, laid out for the batch, kept and reused.
#ifndef OCTOBERT_ENGINE_WORKSPACE_H_
#define OCTOBERT_ENGINE_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "engine/aligned_buffer.h"
#include "engine/format.h"
#include "engine/model.h"
#include "octobert/engine.h"

namespace octobert {

// Rows of a matrix of activations: floats, and what dynamic products read of them, int8 with a scale a row.
struct ActivationRows {
  float* data = nullptr;  // [rows][stride]
  size_t stride = 0;
  uint8_t* q = nullptr;  // [rows][q_stride] activation bytes (kernels/kernels.h)
  size_t q_stride = 0;
  float* scale = nullptr;  // [rows]

  // The same from `row` on.
  ActivationRows from(int row) const {
    const auto r = static_cast<size_t>(row);
    return {data + r * stride, stride, q + r * q_stride, q_stride, scale == nullptr ? nullptr : scale + r};
  }
  // The same from `column` on.
  ActivationRows from_column(int column) const { return {data + column, stride, q + column, q_stride, scale}; }
};

// Some queries of one text: with a head, a unit of work of attention.
struct AttentionItem {
  int32_t first_token, length;  // the text
  int32_t row_begin, row_end;   // the queries, within the text
};

// How the rows of a batch are worked on between attention and the layer's output.
struct RowPlan {
  int block_rows;   // rows that go through the products together, at most
  int block_count;  // a multiple of `workers`, or 1
  // Each worker takes blocks of its own through all steps; or all workers share the one block there is, each
  // computing some of the outputs (few rows, or somebody wants to see the results of all rows).
  bool shared;
  int tokens, workers;

  // The rows [begin, end) of a block, perhaps none. There is an equal share for each worker, cut at multiples of the
  // kernels' register blocks: of 128 rows for one worker, blocks of at most 24 are 16, 24, 24, 16, 24, 24.
  std::pair<int, int> block(int index) const;
  // Whether it is the last one of its worker's.
  bool last_of_worker(int index) const { return (index + 1) % (block_count / workers) == 0; }
};

// What is quantized with fixed scales, and so may be clipped: in layer L, number L * kClipSites + one of these; the
// classifier's input is the first after the last layer.
enum class ClipSite : size_t { kQkvInput, kQkvOutput, kAttentionOutputInput, kFfn1Input, kFfn2Input };
inline constexpr size_t kClipSites = 5;  // a layer

// The state of one forward pass between its parts (engine/bert.h), and its memory. Used by one call at a time.
class BertState {
 public:
  // Lays the buffers out, for one token at least. Allocates only if more is needed than ever before. With `whole`, all
  // rows are one block.
  void prepare(const format::ModelConfig& config, const PackedBatch& batch, int workers, bool whole);

  PackedBatch batch;
  int tokens = 0, workers = 1;
  RowPlan plan{};
  InputForm hidden_form;  // what hidden.q and hidden.scale are of hidden.data; kFloat: nothing

  ActivationRows hidden;         // [tokens][hidden_size], input and output of each layer
  ActivationRows qkv;            // [tokens][3 hidden_size], floats or (attention that is static) bytes
  ActivationRows context;        // [tokens][hidden_size], output of attention
  int32_t* positions = nullptr;  // [tokens]
  std::span<AttentionItem> attention;
  // The first of worker w's heads of items, [workers + 1]: item i's head h is number i * heads + h. The shares are, as
  // nearly as whole heads allow, those of the rows.
  std::span<int32_t> attention_shares;

  // Rows of one block between two products.
  struct Block {
    ActivationRows output;   // [block_rows][max(hidden_size, label_count)], floats only
    ActivationRows ffn;      // [block_rows][intermediate_size]
    uint32_t* row_max_bits;  // [block_rows][kPanelWidth]
    std::byte* splits;       // [block_rows] what split_rows takes out of a product's input; not touched without it
  };
  Block block(int worker) const;

  // Memory of a worker's own: attention's scratch, or panels of weights in another form.
  struct Scratch {
    std::byte* data;
    uint32_t* row_max_bits;  // [block_rows][kPanelWidth]
  };
  Scratch scratch(int worker) const;

  // Clipped values at a site since prepare(): what a worker adds to, and the sum over all.
  uint64_t* clip_counter(int worker, size_t site) const {
    return clip_counts_ + static_cast<size_t>(worker) * clip_stride_ + site;
  }
  uint64_t clipped(size_t site) const;

  size_t allocated_bytes() const { return memory_.size(); }

 private:
  // Assigns every buffer its place from `base` on; returns the bytes used.
  size_t lay_out(const format::ModelConfig& config, size_t attention_items, std::byte* base);
  size_t plan_attention(int heads);

  AlignedBuffer memory_;
  size_t longest_ = 0;  // text
  Block first_block_{};
  Scratch first_scratch_{};
  uint64_t* clip_counts_ = nullptr;  // [workers][clip_stride_]
  size_t clip_stride_ = 0;
  size_t block_bytes_ = 0, scratch_bytes_ = 0;  // from one worker's to the next
};

// Whether each worker takes rows of its own through all the weights. The workers then meet only around attention, and
// not after every product, whose outputs they would share instead: MiniLM is 15 % faster on two threads, BERT-base up
// to 6 %. But every worker streams all weights, so that all of them ask for workers / rows of a row's work in bytes: no
// more than two workers with 12 rows each, where both ways take BERT-base as long (Emerald Rapids, 47 of 58 GB/s; with
// 8 rows it is 14 % slower). Out of a near L3 (near_l3_bytes() in kernels/cpu.h), which holds them beside other things,
// 4 rows each are enough (MiniLM on Zen 4, two threads: 10 to 13 % faster at 8 to 20 tokens). Float weights are 4 times
// as large, or unpacked by each worker: never.
bool workers_take_rows(const format::ModelConfig& config, int tokens, int workers, size_t near_l3);

// Tokens that the engine takes through the model at once (as whole sequences; a longer one goes alone): enough that
// streaming the weights is little against the arithmetic, few enough that what lies between two steps stays in the
// caches; and a bound on the workspace.
int token_budget(int workers);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_WORKSPACE_H_
