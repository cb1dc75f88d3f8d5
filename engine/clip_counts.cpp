#include "engine/clip_counts.h"

#include "kernels/kernels.h"

namespace octobert {

using format::Scheme;

ClipCounts::ClipCounts(const BertModel& model) {
  const uint64_t d = model.config.hidden_size;
  for (size_t l = 0; kCountClipped && l < model.layers.size(); ++l) {
    const EncoderLayer& layer = model.layers[l];
    const auto add_if = [&](Scheme scheme, ClipSite site, const char* product, uint64_t width) {
      if (scheme != Scheme::kStatic) return;
      sites_.push_back(
          {l * kClipSites + static_cast<size_t>(site), "layer." + std::to_string(l) + "." + product, width});
    };
    add_if(layer.qkv.scheme, ClipSite::kQkvInput, "qkv", d * static_cast<uint64_t>(layer.qkv.input_parts));
    add_if(layer.attention, ClipSite::kQkvOutput, "scores", 3 * d);
    add_if(layer.attention_output.scheme, ClipSite::kAttentionOutputInput, "attention_output", d);
    add_if(layer.ffn1.scheme, ClipSite::kFfn1Input, "ffn1", d);
    add_if(layer.ffn2.scheme, ClipSite::kFfn2Input, "ffn2", model.config.intermediate_size);
  }
  if (kCountClipped && model.classifier.scheme == Scheme::kStatic) {
    sites_.push_back({model.layers.size() * kClipSites, "classifier", d});
  }
  totals_ = std::make_unique<std::atomic<uint64_t>[]>(sites_.size() + 1);
}

void ClipCounts::add(const BertState& state) const {
  if (sites_.empty()) return;
  for (size_t i = 0; i < sites_.size(); ++i) {
    totals_[i].fetch_add(state.clipped(sites_[i].number), std::memory_order_relaxed);
  }
  totals_[sites_.size()].fetch_add(static_cast<uint64_t>(state.tokens), std::memory_order_relaxed);
}

std::vector<ClippedShare> ClipCounts::shares() const {
  const uint64_t tokens = totals_[sites_.size()].load(std::memory_order_relaxed);
  std::vector<ClippedShare> shares;
  for (size_t i = 0; i < sites_.size(); ++i) {
    shares.push_back({sites_[i].product, tokens * sites_[i].width, totals_[i].load(std::memory_order_relaxed)});
  }
  return shares;
}

}  // namespace octobert
