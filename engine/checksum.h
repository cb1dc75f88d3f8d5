// The packed file's checksum.
#ifndef OCTOBERT_ENGINE_CHECKSUM_H_
#define OCTOBERT_ENGINE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace octobert {

// XXH3, 64 bits, seed 0 (the algorithm is frozen since xxHash 0.8.0).
uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_CHECKSUM_H_
