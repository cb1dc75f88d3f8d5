#include "kernels/dispatch.h"

namespace octobert {
namespace {

// Constant-initialised, so it can be used before main. From the slowest to the fastest: 512-bit
// VNNI does twice the work of the 256-bit form an instruction, and as much or more a cycle, on
// every CPU that has both (Sapphire Rapids and later; Zen 5).
constexpr const KernelTable* kTables[] = {
#ifdef OCTOBERT_HAVE_SCALAR
    &kScalarTable,
#endif
#ifdef OCTOBERT_HAVE_AVX2
    &kAvx2Table,
#endif
#ifdef OCTOBERT_HAVE_AVX_VNNI
    &kAvxVnniTable,
#endif
#ifdef OCTOBERT_HAVE_AVX512_VNNI
    &kAvx512VnniTable,
#endif
#ifdef OCTOBERT_HAVE_NEON
    &kNeonTable,
#endif
#ifdef OCTOBERT_HAVE_NEON_DOTPROD
    &kNeonDotprodTable,
#endif
#ifdef OCTOBERT_HAVE_NEON_I8MM
    &kNeonI8mmTable,
#endif
};

}  // namespace

std::span<const KernelTable* const> compiled_tables() { return kTables; }

const KernelTable* find_table(std::string_view name) {
  for (const KernelTable* table : kTables) {
    if (name == table->name) return table;
  }
  return nullptr;
}

bool is_available(const KernelTable& table, CpuFeatures features) { return (table.required_features & ~features) == 0; }

const KernelTable& best_table(CpuFeatures features) {
  const KernelTable* best = kTables[0];
  for (const KernelTable* table : kTables) {
    if (is_available(*table, features)) best = table;
  }
  return *best;
}

}  // namespace octobert
