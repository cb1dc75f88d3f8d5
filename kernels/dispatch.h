// Which instruction sets are compiled in, which of them this CPU and system can run, and the best one.
#ifndef OCTOBERT_KERNELS_DISPATCH_H_
#define OCTOBERT_KERNELS_DISPATCH_H_

#include <span>
#include <string_view>

#include "kernels/cpu.h"
#include "kernels/kernels.h"

namespace octobert {

// All tables of this build, scalar first, best last.
std::span<const KernelTable* const> compiled_tables();
// By name; null if this build has no such table.
const KernelTable* find_table(std::string_view name);
// Whether every feature that the table's unit was compiled for is there.
bool is_available(const KernelTable& table, CpuFeatures features);
// The last available one of compiled_tables().
const KernelTable& best_table(CpuFeatures features);

}  // namespace octobert

#endif  // OCTOBERT_KERNELS_DISPATCH_H_
