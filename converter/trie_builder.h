// Strings -> the frozen double-array trie (tokenizer/frozen.h).
#ifndef OCTOBERT_CONVERTER_TRIE_BUILDER_H_
#define OCTOBERT_CONVERTER_TRIE_BUILDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/frozen.h"

namespace octobert::converter {

// entries: strings, without duplicates, in any order (an empty one becomes the root's value), and their values (below
// UINT32_MAX). The same entries give the same units. Throws Error(kUnsupported) if they do not fit in kMaxTrieUnits.
std::vector<frozen::TrieUnit> build_trie(std::vector<std::pair<std::string, uint32_t>> entries);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TRIE_BUILDER_H_
