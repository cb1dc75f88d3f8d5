#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/engine_impl.h"
#include "engine/fp_guard.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace octobert {
namespace {

ModelFileOptions file_options(const OpenOptions& options) {
  return {.verify_all = options.verify_all,
          .load_into_memory = options.load_into_memory,
          .allow_other_numerics = options.allow_other_numerics};
}

const KernelTable& choose_kernels(const std::string& isa) {
  const CpuFeatures features = detect_cpu_features();
  if (isa.empty()) return best_table(features);
  const KernelTable* table = find_table(isa);
  if (table == nullptr) {
    std::string names;
    for (const KernelTable* t : compiled_tables()) names += (names.empty() ? "" : ", ") + std::string(t->name);
    throw Error(ErrorCode::kInvalidInput, "instruction set '" + isa + "' is not in this build, which has " + names);
  }
  if (!is_available(*table, features)) {
    throw Error(ErrorCode::kUnsupported, "instruction set '" + isa + "' is not available on this machine");
  }
  return *table;
}

std::shared_ptr<Executor> choose_executor(const OpenOptions& options) {
  if (options.executor != nullptr) return options.executor;
  if (options.threads < 0) {
    throw Error(ErrorCode::kInvalidInput, "threads is " + std::to_string(options.threads) + ", expected 0 or more");
  }
  return std::make_shared<ThreadPool>(options.threads);
}

const char* activation_name(uint32_t activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kNone:
      break;
  }
  return "none";
}

ModelInfo make_info(const format::ModelConfig& config) {
  return {.hidden_size = static_cast<int>(config.hidden_size),
          .layer_count = static_cast<int>(config.layer_count),
          .head_count = static_cast<int>(config.head_count),
          .intermediate_size = static_cast<int>(config.intermediate_size),
          .vocab_size = static_cast<int>(config.vocab_size),
          .max_positions = static_cast<int>(config.max_positions),
          .type_count = static_cast<int>(config.type_count),
          .label_count = static_cast<int>(config.label_count),
          .activation = activation_name(config.activation),
          .scheme = format::scheme_name(config.scheme),
          .layer_norm_eps = config.layer_norm_eps};
}

[[noreturn]] void fail_input(const std::string& field, size_t index, int64_t found, const std::string& expected) {
  throw Error(ErrorCode::kInvalidInput,
              field + "[" + std::to_string(index) + "] is " + std::to_string(found) + ", expected " + expected);
}

void check_below(const char* field, std::span<const int32_t> values, uint32_t bound) {
  const auto bad = [&](int32_t v) { return static_cast<uint32_t>(v) >= bound; };
  // Without an early exit the usual pass is one the compiler makes wide.
  bool any = false;
  for (const int32_t v : values) any |= bad(v);
  if (!any) return;
  const auto it = std::find_if(values.begin(), values.end(), bad);
  fail_input(field, static_cast<size_t>(it - values.begin()), *it, "0 to " + std::to_string(bound - 1));
}

void check_finite(std::span<const float> logits, size_t labels, size_t first_token) {
  bool all = true;
  for (const float x : logits) all &= std::isfinite(x);
  if (all) return;
  const auto it = std::find_if(logits.begin(), logits.end(), [](float x) { return !std::isfinite(x); });
  const auto index = static_cast<size_t>(it - logits.begin());
  throw Error(ErrorCode::kNumeric, "the logit of token " + std::to_string(first_token + index / labels) + ", label " +
                                       std::to_string(index % labels) + " is not finite: broken weights?");
}

}  // namespace

Engine::Impl::Impl(ModelFile model_file, const OpenOptions& options)
    : file(std::move(model_file)),
      model(make_bert_model(file)),
      tokenizer(Tokenizer::from_frozen(file.tokenizer_section(), file.source())),
      labels(file.labels().begin(), file.labels().end()),
      info(make_info(file.config())),
      kernels(&choose_kernels(options.isa)),
      executor(choose_executor(options)) {
  if (tokenizer.vocab_size() > file.config().vocab_size) {
    throw Error(ErrorCode::kFormat, file.source() + ": the tokenizer has ids up to " +
                                        std::to_string(tokenizer.vocab_size() - 1) + ", config: vocab_size is " +
                                        std::to_string(file.config().vocab_size));
  }
}

void Engine::Impl::check_batch(const PackedBatch& batch, size_t logits_size) const {
  const format::ModelConfig& config = file.config();
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::kInvalidInput, what); };
  const std::span<const int32_t> offsets = batch.offsets;
  if (offsets.empty()) fail("offsets is empty, expected one entry more than there are sequences");
  if (offsets.front() != 0) fail_input("offsets", 0, offsets.front(), "0");
  for (size_t s = 1; s < offsets.size(); ++s) {
    const int64_t length = int64_t{offsets[s]} - offsets[s - 1];
    if (length < 1 || length > config.max_positions) {
      fail_input("offsets", s, offsets[s],
                 std::to_string(offsets[s - 1]) + " plus a length of 1 to " + std::to_string(config.max_positions));
    }
  }
  if (static_cast<size_t>(offsets.back()) != batch.ids.size()) {
    fail_input("offsets", offsets.size() - 1, offsets.back(), std::to_string(batch.ids.size()) + ", the number of ids");
  }
  if (!batch.type_ids.empty() && batch.type_ids.size() != batch.ids.size()) {
    fail("type_ids has " + std::to_string(batch.type_ids.size()) + " entries, expected none or " +
         std::to_string(batch.ids.size()) + ", the number of ids");
  }
  check_below("ids", batch.ids, config.vocab_size);
  check_below("type_ids", batch.type_ids, config.type_count);
  if (logits_size != batch.ids.size() * config.label_count) {
    fail("logits has room for " + std::to_string(logits_size) + " values, expected " +
         std::to_string(batch.ids.size() * config.label_count) + " (tokens x labels)");
  }
}

void Engine::Impl::logits(const PackedBatch& batch, std::span<float> logits, BertState& state, RunContext hooks) const {
  check_batch(batch, logits.size());
  const FpGuard guard;
  hooks.kernels = kernels;
  hooks.executor = executor.get();
  const size_t labels_per_token = file.config().label_count;
  // An observer is shown the results of all of the batch's rows at once.
  const size_t budget = hooks.observer != nullptr ? std::numeric_limits<size_t>::max()
                                                  : static_cast<size_t>(token_budget(executor->concurrency()));
  const std::span<const int32_t> offsets = batch.offsets;
  for (size_t begin = 0; begin + 1 < offsets.size();) {
    const auto first = static_cast<size_t>(offsets[begin]);
    size_t end = begin + 1;
    while (end + 1 < offsets.size() && static_cast<size_t>(offsets[end + 1]) - first <= budget) ++end;
    const size_t count = static_cast<size_t>(offsets[end]) - first;
    const PackedBatch chunk{.ids = batch.ids.subspan(first, count),
                            .type_ids = batch.type_ids.empty() ? batch.type_ids : batch.type_ids.subspan(first, count),
                            .offsets = offsets.subspan(begin, end - begin + 1)};
    const auto chunk_logits = logits.subspan(first * labels_per_token, count * labels_per_token);
    forward(hooks, model, chunk, chunk_logits, state);
    clip_counts.add(state);
    check_finite(chunk_logits, labels_per_token, first);
    begin = end;
  }
}

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine Engine::open(const std::filesystem::path& path, const OpenOptions& options) {
  return Engine(std::make_unique<Impl>(ModelFile::open(path, file_options(options)), options));
}

Engine Engine::open_memory(std::span<const std::byte> bytes, const OpenOptions& options) {
  return Engine(std::make_unique<Impl>(ModelFile::open_memory(bytes, file_options(options)), options));
}

void Engine::logits(const PackedBatch& batch, std::span<float> logits, Workspace& workspace,
                    const CancelToken* cancel) const {
  if (workspace.impl_ == nullptr) workspace.impl_ = std::make_unique<Workspace::Impl>();  // it was moved from
  impl_->logits(batch, logits, workspace.impl_->state, {.cancel = cancel});
}

std::vector<ClippedShare> Engine::clipped() const { return impl_->clip_counts.shares(); }
const Tokenizer& Engine::tokenizer() const { return impl_->tokenizer; }
const ModelInfo& Engine::info() const { return impl_->info; }
std::span<const std::string> Engine::labels() const { return impl_->labels; }
std::string_view Engine::isa() const { return impl_->kernels->name; }
int Engine::threads() const { return impl_->executor->concurrency(); }

std::vector<IsaInfo> compiled_isas() {
  const CpuFeatures features = detect_cpu_features();
  std::vector<IsaInfo> isas;
  for (const KernelTable* table : compiled_tables()) isas.push_back({table->name, is_available(*table, features)});
  return isas;
}

}  // namespace octobert
