#include "engine/workspace.h"

#include <algorithm>

#include "engine/linear.h"
#include "engine/parallel.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

namespace octobert {
namespace {

constexpr int kRowMultiple = 8;     // rows of a register block of the fastest kernels
constexpr int kMinBlockRows = 32;   // streams 7 MB of a BERT-base layer's weights for 32 rows' 0.6 MB of results: fewer
                                    // rows, to keep those in a small L2, would read more than they save
constexpr int kMaxBlockRows = 128;  // more rows gain nothing: the weights' streaming is hidden from 64 on
constexpr int kTokensPerWorker = 128;  // of a pass: 1024 in passes of 128 take 4 % less time than in one, whose float
                                       // projections leave the caches before attention reads them
constexpr int kAttentionRowStep = 32;  // rows of an attention item, if texts are split: K and V are packed for each

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }
int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Row stride of floats, an odd number of cache lines: the same columns of many rows, as attention reads them, then
// spread over all sets of the L1 cache.
size_t float_stride(size_t columns) {
  const size_t stride = padded_outputs(columns);
  return stride % (2 * kPanelWidth) == 0 ? stride + kPanelWidth : stride;
}

// Whether the products are float ones, as far as the scheme of the whole model says.
bool multiplies_floats(const format::ModelConfig& config) {
  const auto scheme = static_cast<format::Scheme>(config.scheme);
  return scheme == format::Scheme::kFloat || scheme == format::Scheme::kWeightOnly ||
         scheme == format::Scheme::kWeightOnlyInt4 || scheme == format::Scheme::kCodebook;
}

// Rows whose intermediate results, the FFN's as floats and bytes, take up half of a core's L2, if it is not too small.
// Float products take four times as long, so that results may come from farther away, while float weights are four
// times as many bytes to stream, and those that are unpacked for each block took a quarter of the time: all rows that a
// pass has.
int cache_rows(const format::ModelConfig& config) {
  if (multiplies_floats(config)) return kMaxBlockRows;
  const size_t row_bytes = config.intermediate_size * (sizeof(float) + 1) + config.hidden_size * sizeof(float);
  const size_t rows = detect_cache_sizes().l2 / 2 / row_bytes;
  return static_cast<int>(std::clamp<size_t>(rows / kRowMultiple * kRowMultiple, kMinBlockRows, kMaxBlockRows));
}

// Bytes of the layers' weights as int8.
size_t layer_bytes(const format::ModelConfig& config) {
  const size_t d = config.hidden_size;
  return config.layer_count * d * (4 * d + 2 * size_t{config.intermediate_size});
}

RowPlan plan_rows(const format::ModelConfig& config, int tokens, int workers, bool whole) {
  const int fewest = ceil_div(tokens, cache_rows(config));
  const bool shared = workers > 1 && fewest < workers && !workers_take_rows(config, tokens, workers, near_l3_bytes());
  if (whole || shared) return {tokens, 1, true, tokens, 1};
  RowPlan plan = {0, round_up(fewest, workers), false, tokens, workers};
  for (int i = 0; i < plan.block_count; ++i) {
    const auto [begin, end] = plan.block(i);
    plan.block_rows = std::max(plan.block_rows, end - begin);
  }
  return plan;
}

// Hands out consecutive pieces of memory, each on a cache line of its own. Without memory behind it, it counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(reinterpret_cast<uintptr_t>(base)) {}

  template <class T>
  T* take(size_t count) {
    const uintptr_t address = base_ + used_;
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(address);
  }
  ActivationRows rows(size_t count, size_t columns, bool quantized) {
    ActivationRows r;
    r.stride = float_stride(columns);
    r.data = take<float>(count * r.stride);
    if (!quantized) return r;
    r.q_stride = activation_stride(columns);
    r.q = take<uint8_t>(count * r.q_stride);
    r.scale = take<float>(count);
    return r;
  }
  size_t used() const { return used_; }

 private:
  uintptr_t base_;
  size_t used_ = 0;
};

template <class T>
T* shift(T* pointer, size_t bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(pointer) + bytes);
}

}  // namespace

std::pair<int, int> RowPlan::block(int index) const {
  const int each = block_count / workers;
  const int share = index / each, i = index % each;
  const int first = part_begin(tokens, share, workers), count = part_begin(tokens, share + 1, workers) - first;
  const int register_blocks = ceil_div(count, kRowMultiple);
  const auto cut = [&](int piece) { return first + std::min(count, piece * register_blocks / each * kRowMultiple); };
  return {cut(i), cut(i + 1)};
}

bool workers_take_rows(const format::ModelConfig& config, int tokens, int workers, size_t near_l3) {
  constexpr int kFewestRows = 4, kRowsPerWorker = 6;
  if (multiplies_floats(config)) return false;
  const int rows = tokens / workers;
  return rows >= (layer_bytes(config) <= near_l3 / 2 ? kFewestRows : kRowsPerWorker * workers);
}

int token_budget(int workers) { return workers * kTokensPerWorker; }

void BertState::prepare(const format::ModelConfig& config, const PackedBatch& packed, int worker_count, bool whole) {
  batch = packed;
  tokens = static_cast<int>(packed.ids.size());
  workers = worker_count;
  plan = plan_rows(config, tokens, workers, whole);
  hidden_form = {};
  longest_ = 0;
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    longest_ = std::max(longest_, static_cast<size_t>(batch.offsets[s + 1] - batch.offsets[s]));
  }
  const size_t items = batch.offsets.size() - 1 + static_cast<size_t>(tokens / kAttentionRowStep);
  const size_t bytes = lay_out(config, items, nullptr);
  if (bytes > memory_.size()) {
    memory_ = AlignedBuffer();  // before the new one is asked for
    memory_ = AlignedBuffer(bytes);
  }
  lay_out(config, items, memory_.data());
  attention = attention.first(plan_attention(static_cast<int>(config.head_count)));
  std::fill_n(clip_counts_, static_cast<size_t>(workers) * clip_stride_, uint64_t{0});
  for (size_t s = 0, m = 0; s + 1 < batch.offsets.size(); ++s) {
    for (int32_t p = 0; p < batch.offsets[s + 1] - batch.offsets[s]; ++p) positions[m++] = p;
  }
}

size_t BertState::lay_out(const format::ModelConfig& config, size_t attention_items, std::byte* base) {
  const size_t m = static_cast<size_t>(tokens), d = config.hidden_size;
  const auto rows = static_cast<size_t>(plan.block_rows);
  Carver memory(base);
  hidden = memory.rows(m, d, true);
  qkv = memory.rows(m, 3 * d, true);
  context = memory.rows(m, d, true);
  positions = memory.take<int32_t>(m);
  clip_stride_ = (config.layer_count * kClipSites + 1 + 7) / 8 * 8;  // cache lines of a worker's own
  clip_counts_ = memory.take<uint64_t>(static_cast<size_t>(workers) * clip_stride_);
  attention = {memory.take<AttentionItem>(attention_items), attention_items};
  const size_t shares = static_cast<size_t>(workers) + 1;
  attention_shares = {memory.take<int32_t>(shares), shares};

  const size_t blocks_begin = memory.used();
  first_block_.output = memory.rows(rows, std::max(d, size_t{config.label_count}), false);
  first_block_.ffn = memory.rows(rows, config.intermediate_size, true);
  first_block_.row_max_bits = memory.take<uint32_t>(rows * kPanelWidth);
  first_block_.splits = memory.take<std::byte>(
      rows * split_row_bytes(static_cast<int>(std::max(config.hidden_size, config.intermediate_size))));
  block_bytes_ = memory.used() - blocks_begin;
  if (!plan.shared) memory.take<std::byte>(block_bytes_ * static_cast<size_t>(std::min(workers, plan.block_count) - 1));

  const size_t scratch_begin = memory.used();
  first_scratch_.data = memory.take<std::byte>(
      std::max(attention_scratch_bytes(longest_, d / config.head_count),
               linear_scratch_bytes(static_cast<int>(std::max(config.hidden_size, config.intermediate_size)))));
  first_scratch_.row_max_bits = memory.take<uint32_t>(rows * kPanelWidth);
  scratch_bytes_ = memory.used() - scratch_begin;
  memory.take<std::byte>(scratch_bytes_ * static_cast<size_t>(workers - 1));
  return memory.used();
}

// Texts in one piece each, unless that leaves workers idle: then long ones are cut, so that no item is more than a
// quarter of a worker's share.
size_t BertState::plan_attention(int heads) {
  const auto cost = [](int64_t length) { return length * length; };
  int64_t total = 0;
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) total += cost(batch.offsets[s + 1] - batch.offsets[s]);
  const int64_t most = std::max<int64_t>(1, total * heads / (4 * int64_t{workers}));
  size_t count = 0;
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    const int32_t length = batch.offsets[s + 1] - batch.offsets[s];
    int32_t step = length;
    if (workers > 1 && cost(length) > most) {
      const auto pieces = static_cast<int32_t>(std::min<int64_t>(length, (cost(length) + most - 1) / most));
      step = std::max(round_up(ceil_div(length, pieces), kRowMultiple), kAttentionRowStep);
    }
    for (int32_t row = 0; row < length; row += step) {
      attention[count++] = {batch.offsets[s] - batch.offsets[0], length, row, std::min(row + step, length)};
    }
  }
  size_t i = 0;
  for (int w = 0; w < workers; ++w) {
    const int32_t row = part_begin(tokens, w, workers);
    while (attention[i].first_token + attention[i].row_end <= row) ++i;  // the last item's end is `tokens`
    const int32_t begin = attention[i].first_token + attention[i].row_begin;
    const int32_t rows = attention[i].row_end - attention[i].row_begin;
    attention_shares[static_cast<size_t>(w)] = static_cast<int32_t>(i) * heads + part_begin(heads, row - begin, rows);
  }
  attention_shares[static_cast<size_t>(workers)] = static_cast<int32_t>(count) * heads;
  return count;
}

BertState::Block BertState::block(int worker) const {
  const size_t offset = plan.shared ? 0 : block_bytes_ * static_cast<size_t>(worker);
  Block b = first_block_;
  b.output.data = shift(b.output.data, offset);
  b.ffn.data = shift(b.ffn.data, offset);
  b.ffn.q = shift(b.ffn.q, offset);
  b.ffn.scale = shift(b.ffn.scale, offset);
  b.row_max_bits = shift(b.row_max_bits, offset);
  b.splits = shift(b.splits, offset);
  return b;
}

uint64_t BertState::clipped(size_t site) const {
  uint64_t sum = 0;
  for (int w = 0; w < workers; ++w) sum += *clip_counter(w, site);
  return sum;
}

BertState::Scratch BertState::scratch(int worker) const {
  const size_t offset = scratch_bytes_ * static_cast<size_t>(worker);
  return {first_scratch_.data + offset, shift(first_scratch_.row_max_bits, offset)};
}

}  // namespace octobert
