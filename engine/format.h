// The packed file (*.octo), byte for byte; docs/FORMAT.md is the same in prose. Little-endian,
// structures without padding, used in place from the mapped file.
//
// Compatibility: a released version is read for ever. New content comes as new section types:
// readers refuse an unknown section that is `required` and skip one that is not.
#ifndef OCTOBERT_ENGINE_FORMAT_H_
#define OCTOBERT_ENGINE_FORMAT_H_

#include <cstdint>

namespace octobert::format {

inline constexpr char kMagic[8] = {'O', 'C', 'T', 'O', 'B', 'E', 'R', 'T'};
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kAlignment = 64;  // of every section and tensor: a cache line, a zmm
inline constexpr uint32_t kMaxSections = 4096;

struct FileHeader {  // at offset 0
  char magic[8];
  uint32_t format_version;
  uint32_t numerics_version;  // kernels/numerics.h
  uint32_t section_count;
  uint32_t header_size;  // sizeof(FileHeader)
  uint64_t file_size;
  uint64_t table_checksum;   // XXH3-64 of the section table
  uint64_t header_checksum;  // XXH3-64 of the bytes before this field
  uint8_t reserved[16];      // zero
};
static_assert(sizeof(FileHeader) == 64);

enum class SectionType : uint32_t {
  kConfig = 1,       // ModelConfig
  kLabels = 2,       // strings
  kTokenizer = 3,    // tokenizer/frozen.h
  kTensors = 4,      // TensorEntry[]: what lies where in the weight sections
  kProducts = 5,     // ProductEntry[]: how each matrix product is computed
  kWeights = 6,      // tensor data; several, one for the embeddings, each layer, the classifier
  kProvenance = 7,   // strings: key, value, key, value, ... (optional)
  kTestVectors = 8,  // test vectors (optional): replayed by `verify`
  kQuantReport = 9,  // strings: key, value: what the converter measured (optional)
};

inline constexpr uint32_t kSectionRequired = 1;  // flag

struct SectionEntry {  // table right after the header
  uint32_t type;
  uint32_t flags;
  uint64_t offset;    // from the start of the file, multiple of 64
  uint64_t size;      // bytes
  uint64_t checksum;  // XXH3-64 (seed 0) of the bytes
  char name[32];      // NUL-padded, for messages: "config", "layer.3", ...
};
static_assert(sizeof(SectionEntry) == 64);

struct ModelConfig {
  uint32_t family;  // 0 = BERT
  uint32_t hidden_size;
  uint32_t layer_count;
  uint32_t head_count;
  uint32_t intermediate_size;
  uint32_t vocab_size;
  uint32_t max_positions;  // position rows = longest window in tokens, specials included
  uint32_t type_count;     // token type rows
  uint32_t label_count;
  uint32_t activation;  // kernels.h Activation
  float layer_norm_eps;
  uint32_t scheme;       // Scheme the converter was asked for (products say what each one is)
  uint8_t reserved[80];  // zero
};
static_assert(sizeof(ModelConfig) == 128);

// How one matrix product is computed.
enum class Scheme : uint32_t {
  kFloat = 0,           // fp32 weights (kN16K1), float arithmetic
  kWeightOnly = 1,      // int8 weights (kN16K4) per output channel, float arithmetic
  kDynamic = 2,         // int8 weights, int8 activations per token, scales found at run time
  kStatic = 3,          // int8 weights, int8 activations, scales fixed by calibration and folded into the weights
  kWeightOnlyInt4 = 4,  // int4 weights (kN16K8) with a scale a group of inputs and output, float arithmetic
  kCodebook = 5,        // 4-bit indices (kN16K8) into 16 floats, a scale an output, float arithmetic
  kHybrid = 6,          // of a model, in ModelConfig only: products have different schemes
};

// As commands and reports name them; "unknown" for what this build does not know.
constexpr const char* scheme_name(uint32_t scheme) {
  constexpr const char* kNames[] = {
      "float", "weight-only", "dynamic", "static", "weight-only-int4", "weight-only-codebook", "hybrid"};
  return scheme < sizeof kNames / sizeof *kNames ? kNames[scheme] : "unknown";
}

// Products of layer L, in this order: 6 L + {0: qkv, 1: scores, 2: context, 3: attention_output,
// 4: ffn1, 5: ffn2}; last, 6 * layer_count: classifier. scores and context have no weights.
struct ProductEntry {
  uint32_t scheme;       // Scheme, not kHybrid
  uint32_t group_size;   // kWeightOnlyInt4: inputs that share a scale, a multiple of 8; else zero
  uint32_t reserved[2];  // zero
};
static_assert(sizeof(ProductEntry) == 16);

enum class DType : uint32_t {
  kF32 = 0,
  kI8 = 1,
  kI32 = 2,
  kI4 = 3,  // -8..7, two's complement, kN16K8 only
  kU4 = 4,  // 0..15, kN16K8 only
};

// Tensor names: "embeddings.word" [V, D] (+ ".scale" [V] if int8), "embeddings.position" [P, D],
// "embeddings.type" [T, D], "embeddings.norm.gamma"/".beta" [D]; "layer.L.qkv", "layer.L.attention_output",
// "layer.L.ffn1", "layer.L.ffn2", "classifier", each with ".weight" [N, K], ".bias" [padded N] and, if
// int8, ".scale" [padded N], ".sum" [padded N] (i32, sum over k of the row's weights);
// Further, as the scheme has them: ".input_inv" [K up to a multiple of 16] (multipliers of the input's channels, zero
// past K; kStatic, and kDynamic where smoothed), ".input_zero" i32 [1] (kStatic), ".group_scale" [groups, padded N]
// (kWeightOnlyInt4), ".codebook" [16] and ".scale" (kCodebook). Where attention is kStatic: "layer.L.qkv.output_inv"
// [padded 3 D], "layer.L.scores.factor" [H] (scale of Q times scale of K), "layer.L.context.value_scale" [D];
// "layer.L.attention_norm.gamma"/".beta", "layer.L.ffn_norm.gamma"/".beta" [D].
// qkv has the outputs of query, key, value one after the other: N = 3 D; it may have an input for each: [3, K], [3].
struct TensorEntry {
  char name[64];     // NUL-terminated
  uint32_t dtype;    // DType
  uint32_t layout;   // kernels/layout.h Layout
  uint32_t section;  // index in the section table, of type kWeights
  uint32_t rank;     // 1 or 2
  uint64_t dims[2];  // logical; [N, K] for packed weights; dims[1] = 1 if rank is 1
  uint64_t offset;   // within the section, multiple of 64
  uint64_t size;     // bytes, exactly what dtype, layout and dims need
};
static_assert(sizeof(TensorEntry) == 112);

// "strings": uint32 count, then uint32 end offset of each string (relative to the first
// character), then the characters, UTF-8, not terminated.

// Test vectors: uint32 count, then per vector: uint32 text_bytes, uint32 token_count,
// uint32 label_count, text (padded with zeros to 4), int32 ids[token_count],
// float logits[token_count][label_count].

}  // namespace octobert::format

#endif  // OCTOBERT_ENGINE_FORMAT_H_
