#include "converter/trie_builder.h"

#include <algorithm>
#include <deque>
#include <span>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

using Entry = std::pair<std::string, uint32_t>;

// Places units, breadth first, so that the ones near the root, which every look-up passes, lie together.
class Builder {
 public:
  explicit Builder(std::span<const Entry> entries) : entries_(entries) {
    units_.resize(kFirstUnit, {0, 0});
    base_used_.resize(kFirstUnit, false);
    free_.resize(kFirstUnit, {0, 0});  // empty: the root, never free, stands for both ends
  }

  std::vector<frozen::TrieUnit> build() {
    queue_.push_back({0, 0, entries_.size(), 0});
    while (!queue_.empty()) {
      const Node node = queue_.front();
      queue_.pop_front();
      place_children(node);
    }
    units_.resize(max_base_ + 256);  // every base + 255 is a unit
    return std::move(units_);
  }

 private:
  static constexpr uint32_t kFirstUnit = 256;  // 0 is the root, 1 to 255 stay unused
  // A node whose children fit nowhere in this many free units gets new ones at the end ...
  static constexpr uint32_t kMaxProbes = 256;
  // ... and of free units that nothing fits into, this many are given up each time.
  static constexpr uint32_t kGiveUp = 32;

  struct Node {
    uint32_t unit;
    size_t begin, end;  // entries that share the first `depth` bytes
    size_t depth;
  };
  struct Child {
    uint8_t label;
    size_t begin, end;
  };

  void grow(size_t size) {
    if (size > frozen::kMaxTrieUnits) {
      throw Error(ErrorCode::kUnsupported, "tokenizer: the vocabulary needs a trie of more than " +
                                               std::to_string(frozen::kMaxTrieUnits) + " units");
    }
    const size_t before = units_.size();
    units_.resize(size, {0, 0});
    base_used_.resize(size, false);
    free_.resize(size);
    for (auto unit = static_cast<uint32_t>(before); unit < size; ++unit) {
      free_[unit] = {free_[0].previous, 0};
      free_[free_[0].previous].next = unit;
      free_[0].previous = unit;
    }
  }

  void unlink(uint32_t unit) {
    free_[free_[unit].previous].next = free_[unit].next;
    free_[free_[unit].next].previous = free_[unit].previous;
    free_[unit] = {unit, unit};  // unlinking again does nothing
  }

  bool is_free(uint32_t unit) const { return unit >= units_.size() || units_[unit].link == 0; }

  void find_children(const Node& node) {
    children_.clear();
    for (size_t i = node.begin; i < node.end; ++i) {
      const std::string& string = entries_[i].first;
      if (string.size() == node.depth) {  // sorted: the first of them
        units_[node.unit].value = entries_[i].second + 1;
        continue;
      }
      const auto label = static_cast<uint8_t>(string[node.depth]);
      if (children_.empty() || children_.back().label != label) children_.push_back({label, i, i});
      children_.back().end = i + 1;
    }
  }

  bool fits(uint32_t base) const {
    if (base < base_used_.size() && base_used_[base]) return false;
    return std::all_of(children_.begin(), children_.end(),
                       [&](const Child& child) { return is_free(base + child.label); });
  }

  uint32_t find_base() {
    const uint32_t first_label = children_.front().label;
    uint32_t probes = 0;
    for (uint32_t unit = free_[0].next; unit != 0 && probes < kMaxProbes; unit = free_[unit].next, ++probes) {
      if (fits(unit - first_label)) return unit - first_label;
    }
    if (probes == kMaxProbes) {
      for (uint32_t i = 0; i < kGiveUp; ++i) unlink(free_[0].next);
    }
    uint32_t base = static_cast<uint32_t>(units_.size()) - first_label;
    while (!fits(base)) ++base;
    return base;
  }

  void place_children(const Node& node) {
    find_children(node);
    if (children_.empty()) return;
    const uint32_t base = find_base();
    grow(std::max<size_t>(units_.size(), size_t{base} + 256));
    base_used_[base] = true;
    max_base_ = std::max(max_base_, base);
    units_[node.unit].link |= base << frozen::kBaseShift;
    for (const Child& child : children_) {
      units_[base + child.label].link = frozen::kUsed | child.label;
      unlink(base + child.label);
      queue_.push_back({base + child.label, child.begin, child.end, node.depth + 1});
    }
  }

  std::span<const Entry> entries_;
  std::vector<frozen::TrieUnit> units_;
  std::vector<bool> base_used_;
  std::vector<Child> children_;
  std::deque<Node> queue_;
  struct Links {
    uint32_t previous, next;
  };
  std::vector<Links> free_;  // a list of the free units, in order; 0 is before the first and after the last
  uint32_t max_base_ = 0;
};

}  // namespace

std::vector<frozen::TrieUnit> build_trie(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end());
  return Builder(entries).build();
}

}  // namespace octobert::converter
