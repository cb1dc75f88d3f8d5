#include "converter/descent.h"

#include <algorithm>
#include <vector>

#include "converter/blocks.h"
#include "kernels/layout.h"

namespace octobert::converter {
namespace {

constexpr size_t kRowsAtOnce = 32;  // what a task takes: as many gradients as the second cache holds
constexpr int kSweeps = 3;          // of the bundled model's gain, most is the first one's

// For each block, H's rows of its inputs as the kernels' product reads them: [blocks][K / 16][inputs of the block][16].
AlignedBuffer pack_blocks(Executor& executor, const ErrorForm& form, size_t block) {
  const size_t k = form.k, padded = padded_outputs(k);
  AlignedBuffer packed(k * padded * sizeof(float));
  auto* floats = reinterpret_cast<float*>(packed.data());
  for_each_block(executor, 0, k, block, [&](size_t first, size_t last) {
    float* dst = floats + first * padded;
    for (size_t panel = 0; panel < padded; panel += kPanelWidth) {
      for (size_t c = first; c < last; ++c) {
        for (size_t j = panel; j < panel + kPanelWidth; ++j) *dst++ = j < k ? form.h[c * k + j] : 0.0f;
      }
    }
  });
  return packed;
}

// Some rows on their way, and their gradients H (w - q).
class Rows {
 public:
  // packed: of pack_blocks; stored: [count][K], of the rows from `begin` on.
  Rows(const ErrorForm& form, const float* packed, size_t block, size_t begin, std::span<double> stored)
      : form_(form),
        packed_(packed),
        block_(block),
        begin_(begin),
        count_(stored.size() / form.k),
        stored_(stored),
        gradient_(stored.size()),
        local_(block),
        change_(count_ * block),
        no_bias_(padded_outputs(form.k)),
        product_(count_ * padded_outputs(form.k) * sizeof(float)) {}

  // w: [count][K].
  void start(std::span<const float> w) {
    for_each_block([&](size_t first, size_t size) {
      for (size_t r = 0; r < count_; ++r) {
        for (size_t c = 0; c < size; ++c) {
          const size_t i = r * form_.k + first + c;
          change_[r * size + c] = static_cast<float>(double{w[i]} - stored_[i]);
        }
      }
    });
  }

  void sweep(const ImproveBlock& improve) {
    for_each_block([&](size_t first, size_t size) {
      for (size_t r = 0; r < count_; ++r) {
        const size_t begin = r * form_.k + first;
        const auto stored = stored_.subspan(begin, size);
        std::copy_n(gradient_.begin() + static_cast<std::ptrdiff_t>(begin), size, local_.begin());
        old_.assign(stored.begin(), stored.end());
        RowBlock part(begin_ + r, first, stored, std::span(local_).first(size),
                      form_.h.data() + first * form_.k + first, form_.k);
        improve(part);
        for (size_t c = 0; c < size; ++c) change_[r * size + c] = static_cast<float>(old_[c] - stored[c]);
      }
    });
  }

 private:
  // change(first, size) says by how much the block's errors w - q change: all gradients follow.
  template <typename Change>
  void for_each_block(const Change& change) {
    const size_t padded = padded_outputs(form_.k);
    auto* moved = reinterpret_cast<float*>(product_.data());
    for (size_t first = 0; first < form_.k; first += block_) {
      const size_t size = std::min(block_, form_.k - first);
      change(first, size);
      form_.kernels->gemm_f32({.a = change_.data(),
                               .lda = size,
                               .b = packed_ + first * padded,
                               .b_scale = nullptr,
                               .bias = no_bias_.data(),
                               .dst = moved,
                               .ldd = padded,
                               .m = static_cast<int>(count_),
                               .k = static_cast<int>(size),
                               .panel_begin = 0,
                               .panel_end = static_cast<int>(panel_count(form_.k)),
                               .activation = Activation::kNone});
      for (size_t r = 0; r < count_; ++r) {
        for (size_t c = 0; c < form_.k; ++c) gradient_[r * form_.k + c] += double{moved[r * padded + c]};
      }
    }
  }

  const ErrorForm& form_;
  const float* packed_;
  size_t block_, begin_, count_;
  std::span<double> stored_;
  std::vector<double> gradient_, local_, old_;
  std::vector<float> change_, no_bias_;
  AlignedBuffer product_;
};

}  // namespace

void RowBlock::store(size_t i, double value) {
  const double change = value - stored_[i];
  if (change == 0) return;
  stored_[i] = value;
  for (size_t j = 0; j < size(); ++j) gradient_[j] -= change * h(i, j);
}

double RowBlock::best_factor() const {
  double slope = 0, curvature = 0;
  for (size_t i = 0; i < size(); ++i) {
    double moved = 0;
    for (size_t j = 0; j < size(); ++j) moved += h(i, j) * stored_[j];
    slope += stored_[i] * gradient_[i];
    curvature += stored_[i] * moved;
  }
  return curvature > 0 ? std::clamp(1 + slope / curvature, 0.5, 2.0) : 1;
}

void descend(Executor& executor, const ErrorForm& form, std::span<const float> w, size_t block,
             const ImproveBlock& improve, std::span<double> stored) {
  const AlignedBuffer packed = pack_blocks(executor, form, block);
  const size_t rows = w.size() / form.k;
  for_each_block(executor, 0, rows, kRowsAtOnce, [&](size_t begin, size_t end) {
    const size_t count = end - begin;
    Rows part(form, reinterpret_cast<const float*>(packed.data()), block, begin,
              stored.subspan(begin * form.k, count * form.k));
    part.start(w.subspan(begin * form.k, count * form.k));
    for (int sweep = 0; sweep < kSweeps; ++sweep) part.sweep(improve);
  });
}

}  // namespace octobert::converter
