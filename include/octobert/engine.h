// Open a packed model, give it texts, get entities:
//
//   auto engine = octobert::Engine::open("model.octo");
//   for (const auto& e : engine.analyze("Angela Merkel met Tim Cook in Berlin.").entities)
//     std::cout << e.label << " " << e.text << "\n";
//
// and below that the tokenizer and the logits by themselves.
#ifndef OCTOBERT_ENGINE_H_
#define OCTOBERT_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/entities.h"
#include "octobert/error.h"
#include "octobert/export.h"
#include "octobert/thread_pool.h"
#include "octobert/tokenizer.h"

namespace octobert {

// Set from any thread to stop a long call, which then throws Error(kCancelled).
class CancelToken {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

struct OpenOptions {
  int threads = 0;                       // 0: usable_cores(); ignored if executor is given
  std::shared_ptr<Executor> executor{};  // shared pool, or the caller's own
  std::string isa{};                  // "": the best available; else one of compiled_isas(), an error if not available
  bool verify_all = false;            // check every section's checksum, weights included
  bool load_into_memory = false;      // read instead of map: safe against truncation in place
  bool allow_other_numerics = false;  // open a file made for another version of the arithmetic
};

// A batch of token sequences, one after the other without padding.
struct PackedBatch {
  std::span<const int32_t> ids;       // [M]
  std::span<const int32_t> type_ids;  // [M], or empty for zeros
  std::span<const int32_t> offsets;   // [S + 1]: sequence s is [offsets[s], offsets[s + 1])
};

// Scratch memory of one call at a time. Grows to the largest call and is then reused.
class OCTOBERT_API Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;

 private:
  friend class Engine;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ModelInfo {
  int hidden_size, layer_count, head_count, intermediate_size, vocab_size, max_positions, type_count, label_count;
  std::string activation;  // "gelu", "gelu_tanh", "relu"
  std::string
      scheme;  // "float", "weight-only", "dynamic", "static", "weight-only-int4", "weight-only-codebook", "hybrid"
  float layer_norm_eps;
};

// What a static product has clipped of its input: values that lay outside the range that its calibration found. A share
// that grows says that the texts are not like those of the calibration.
struct ClippedShare {
  std::string product;  // "layer.0.qkv", ...; "layer.0.scores": queries, keys and values, the input of attention's both
  uint64_t values, clipped;
};

// Immutable after open; all const methods may be called from many threads at once. Results are bit for bit the
// same for every instruction set, number of threads and batch. The library never prints, never aborts, and reads
// neither the environment nor the locale. Calls set the floating-point control word to its default and restore it.
class OCTOBERT_API Engine {
 public:
  // Maps the file; touches no weight page. Throws Error(kIo, kFormat, kUnsupported).
  // Replacing the file by rename while it is open is safe; truncating it in place is not (see load_into_memory).
  static Engine open(const std::filesystem::path& path, const OpenOptions& options = {});
  // The bytes, 64-byte aligned or copied if not, must outlive the engine.
  static Engine open_memory(std::span<const std::byte> bytes, const OpenOptions& options = {});

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  // Entities of one text or many (batched inside). The views in the result point into the caller's text.
  // Throws Error(kInvalidInput, kNumeric, kCancelled).
  Analysis analyze(std::string_view text, const AnalyzeOptions& options = {}) const;
  std::vector<Analysis> analyze(std::span<const std::string_view> texts, const AnalyzeOptions& options = {}) const;
  // The same into reused results: a warm call allocates nothing. results.size() == texts.size().
  void analyze(std::span<const std::string_view> texts, const AnalyzeOptions& options, std::span<Analysis> results,
               const CancelToken* cancel = nullptr) const;
  // Pre-tokenized words in, one label a word out (and entities over the words, offsets in the words joined by spaces).
  void analyze_words(std::span<const std::string_view> words, const AnalyzeOptions& options, Analysis& result,
                     const CancelToken* cancel = nullptr) const;

  // logits: [M][label_count], row-major. Sequences of 1 to max_positions tokens, ids below vocab_size; else
  // Error(kInvalidInput). A non-finite logit is Error(kNumeric). A warm call allocates nothing.
  void logits(const PackedBatch& batch, std::span<float> logits, Workspace& workspace,
              const CancelToken* cancel = nullptr) const;

  // One entry a static product, over all calls since the engine was opened; none if there is no static product, or the
  // library was built without OCTOBERT_COUNT_CLIPPED.
  std::vector<ClippedShare> clipped() const;

  const Tokenizer& tokenizer() const;
  const ModelInfo& info() const;
  std::span<const std::string> labels() const;  // label_count names, in the order of the logits
  std::string_view isa() const;                 // the instruction set in use
  int threads() const;

 private:
  friend struct EngineAccess;  // the library's own tools (bench, verify) reach the layers through it
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct IsaInfo {
  std::string name;
  bool available;  // on this CPU, with this operating system
};
// Instruction sets compiled into this build, best last.
OCTOBERT_API std::vector<IsaInfo> compiled_isas();

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_H_
