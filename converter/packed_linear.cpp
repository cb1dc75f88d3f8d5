// PackedLinear: a product's weights as each scheme stores them.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "converter/blocks.h"
#include "converter/descent.h"
#include "converter/kmeans.h"
#include "converter/quantize.h"
#include "kernels/pack.h"

namespace octobert::converter {
namespace {

using format::Scheme;

// Nearest integer, ties to even, of |x| < 2^31.
int round_to_int(double x) {
  constexpr double kUnitUlp = 6755399441055744.0;  // 1.5 * 2^52: beside it the unit in the last place is 1
  return static_cast<int>(x + kUnitUlp - kUnitUlp);
}

// What a product's weights are multiplied with before they are stored: [k], empty for 1.
std::span<const float> multipliers(const PackSpec& spec) {
  if (spec.scheme == Scheme::kStatic) return spec.static_input->scale;
  if (spec.scheme == Scheme::kDynamic && spec.smooth_dynamic) return spec.smooth;
  return {};
}

std::vector<float> times_columns(std::span<const float> w, std::span<const float> multiplier) {
  std::vector<float> result(w.begin(), w.end());
  for (size_t i = 0; i < result.size() && !multiplier.empty(); ++i) result[i] *= multiplier[i % multiplier.size()];
  return result;
}

// What every row's scale of given weights has to be multiplied with, or 0 if the scheme cannot store them.
float given_factor(const PackSpec& spec) {
  const GivenInt8* given = spec.given;
  if (given == nullptr || given->q.empty() || given->input_parts > 1) return 0;
  if (spec.scheme == Scheme::kDynamic) return multipliers(spec).empty() ? 1.0f : 0.0f;
  if (spec.scheme == Scheme::kWeightOnly) return given->input_inv.empty() ? 1.0f : 0.0f;
  // Static: the input's scales must be one scale times the inverse of what the given weights' inputs are multiplied
  // with.
  const std::vector<float>& scale = spec.static_input->scale;
  const auto factor = [&](size_t k) { return given->input_inv.empty() ? scale[k] : scale[k] * given->input_inv[k]; };
  for (size_t k = 1; k < scale.size(); ++k) {
    if (std::fabs(factor(k) - factor(0)) > 1e-6f * factor(0)) return 0;
  }
  return factor(0);
}

// How a kind of weights is rounded, by row n and input k, which are those of w: not divided by `smooth`.
struct Rounding {
  // Keeps what stands for the weight x, and returns its value.
  std::function<double(size_t n, size_t k, double x)> nearest;
  // Multiplies the scale of the row's block that has input k with about `factor`; returns by how much. Empty: the
  // scales stay.
  std::function<double(size_t n, size_t k, double factor)> rescale;
  size_t block = 32;  // inputs that are looked at together; those of one scale, if that is to change
};

// What descent does to a block: each weight in turn, then their scale, until there is little left to gain.
void improve_block(const PackSpec& spec, const Rounding& rounding, RowBlock& part) {
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < part.size(); ++i) {
      const double smooth = spec.smooth.empty() ? 1.0 : double{spec.smooth[part.first() + i]};
      part.store(i, rounding.nearest(part.row(), part.first() + i, part.best_value(i) / smooth) * smooth);
    }
    if (!rounding.rescale) continue;
    const double factor = rounding.rescale(part.row(), part.first(), part.best_factor());
    for (size_t i = 0; i < part.size(); ++i) part.store(i, part.stored(i) * factor);
  }
}

// GPTQ, then descent, of any kind of weights; without calibration, each to the nearest.
void round_all(Executor& executor, const PackSpec& spec, std::span<const float> w, size_t n, size_t k,
               const Rounding& rounding) {
  if (spec.inverse == nullptr) {
    for_each_panel(executor, n, [&](size_t first, size_t rows, size_t /*panel*/) {
      for (size_t row = first; row < first + rows; ++row) {
        for (size_t c = 0; c < k; ++c) rounding.nearest(row, c, double{w[row * k + c]});
      }
    });
    return;
  }
  const std::vector<float> scaled = times_columns(w, spec.smooth);
  std::vector<double> stored(n * k);
  gptq_round(executor, *spec.inverse, scaled.data(), n, [&](size_t row, size_t c, double x) {
    const double smooth = spec.smooth.empty() ? 1.0 : double{spec.smooth[c]};
    return stored[row * k + c] = rounding.nearest(row, c, x / smooth) * smooth;
  });
  descend(
      executor, *spec.form, scaled, rounding.block, [&](RowBlock& part) { improve_block(spec, rounding, part); },
      stored);
}

// How much an error of each input's weights counts, of the inputs as they are: the form's diagonal; empty: equally.
std::vector<float> input_importance(const PackSpec& spec) {
  if (spec.form == nullptr) return {};
  const size_t k = spec.form->k;
  std::vector<float> importance(k);
  for (size_t c = 0; c < k; ++c) {
    const float square = spec.smooth.empty() ? 1.0f : spec.smooth[c] * spec.smooth[c];
    importance[c] = spec.form->h[c * k + c] * square;
  }
  return importance;
}

// The scale of up to group_size weights on -8 .. 7 with the least squared error, weighted by importance: of 2 * 21
// candidates, from the one that the largest magnitude just fits (as -8, which takes a sign, or as 7) down to 0.6 of it.
float group_scale(const float* w, const float* importance, size_t count) {
  constexpr int kCandidates = 21;
  float largest = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::fabs(w[i]) > std::fabs(largest)) largest = w[i];
  }
  if (std::fabs(largest) < 1e-30f) return 1.0f;
  float best = 0;
  double least = 0;
  for (int candidate = 0; candidate < 2 * kCandidates; ++candidate) {
    const float whole = candidate < kCandidates ? largest / -8 : std::fabs(largest) / 7;
    const float scale = whole * (1.0f - 0.02f * static_cast<float>(candidate % kCandidates));
    double error = 0;
    for (size_t i = 0; i < count; ++i) {
      const double x = w[i], q = std::clamp(round_to_int(x / double{scale}), -8, 7), difference = x - q * double{scale};
      error += difference * difference * (importance == nullptr ? 1.0 : double{importance[i]});
    }
    if (best != 0 && error >= least) continue;
    best = scale;
    least = error;
  }
  return best;
}

// The scales of n rows that share a codebook: the root of each one's mean square, weighted by importance, so that the
// rows' values lie alike; all times what brings the largest magnitude of a weight through its scale to 1.
void set_codebook_scales(std::span<const float> w, std::span<const float> importance, size_t n, float* scale) {
  const size_t k = w.size() / n;
  float most = 0;
  for (size_t row = 0; row < n; ++row) {
    float largest = 0;
    double square = 0, total = 0;
    for (size_t c = 0; c < k; ++c) {
      const double x = w[row * k + c], f = importance.empty() ? 1.0 : double{importance[c]};
      largest = std::max(largest, std::fabs(w[row * k + c]));
      square += f * x * x;
      total += f;
    }
    scale[row] = largest < 1e-30f ? 1.0f : static_cast<float>(std::sqrt(square / total));
    most = std::max(most, largest / scale[row]);
  }
  for (size_t row = 0; row < n && most > 0; ++row) scale[row] *= most;
}

}  // namespace

GivenInt8 GivenInt8::part(size_t index, size_t count) const {
  const auto share = [index](const auto& all, size_t shares) {
    const auto size = static_cast<std::ptrdiff_t>(all.size() / shares),
               begin = static_cast<std::ptrdiff_t>(index) * size;
    return std::vector(all.begin() + begin, all.begin() + begin + size);
  };
  return {share(q, count), share(scale, count), input_parts == 1 ? input_inv : share(input_inv, input_parts)};
}

PackedLinear::PackedLinear(Executor& executor, format::Scheme scheme, std::span<const float> w,
                           std::span<const float> bias, int n, int k, const GivenInt8* given)
    : PackedLinear(executor, PackSpec{.scheme = scheme, .given = given}, w, bias, n, k) {}

PackedLinear::PackedLinear(Executor& executor, const PackSpec& spec, std::span<const float> w,
                           std::span<const float> bias, int n, int k)
    : bias_(bias.begin(), bias.end()) {
  view_.scheme = spec.scheme;
  view_.n = n;
  view_.k = k;
  bias_.resize(padded_outputs(static_cast<size_t>(n)));
  switch (spec.scheme) {
    case Scheme::kFloat:
      pack_float(executor, w);
      break;
    case Scheme::kWeightOnlyInt4:
      pack_int4(executor, spec, w);
      break;
    case Scheme::kCodebook:
      pack_codebook(executor, spec, w);
      break;
    case Scheme::kStatic:
    case Scheme::kDynamic:
    case Scheme::kWeightOnly:
      pack_int8(executor, spec, w);
      break;
    case Scheme::kHybrid:
      throw std::logic_error("PackedLinear: no product is hybrid");
  }
  view_.bias = bias_.data();
}

void PackedLinear::pack_float(Executor& executor, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  weight_ = AlignedBuffer(packed_f32_floats(n, k) * sizeof(float));
  auto* packed = reinterpret_cast<float*>(weight_.data());
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_f32(w.data() + first * k, rows, k, packed + panel * packed_f32_panel_floats(k));
  });
  view_.weight_f32 = packed;
}

// stored(n, k): the value of the stored weight, of the inputs as they are.
void PackedLinear::correct_bias(Executor& executor, const PackSpec& spec, std::span<const float> w,
                                const std::function<double(size_t n, size_t k)>& stored) {
  if (spec.input_mean.empty()) return;
  const auto k = static_cast<size_t>(view_.k);
  for_each_panel(executor, static_cast<size_t>(view_.n), [&](size_t first, size_t rows, size_t /*panel*/) {
    for (size_t row = first; row < first + rows; ++row) {
      double shift = 0;
      for (size_t c = 0; c < k; ++c) shift += (double{w[row * k + c]} - stored(row, c)) * spec.input_mean[c];
      bias_[row] = static_cast<float>(double{bias_[row]} + shift);
    }
  });
}

void PackedLinear::pack_int8(Executor& executor, const PackSpec& spec, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  scale_.resize(padded_outputs(n));  // padding outputs: weights, sum, scale and bias 0
  sum_.resize(padded_outputs(n));
  weight_ = AlignedBuffer(packed_s8_bytes(n, k));
  auto* packed = reinterpret_cast<int8_t*>(weight_.data());
  const std::span<const float> multiplier = multipliers(spec);
  std::vector<int8_t> own;
  const int8_t* q = nullptr;
  if (const float factor = given_factor(spec); factor != 0) {
    q = spec.given->q.data();
    for (size_t i = 0; i < n; ++i) scale_[i] = factor == 1.0f ? spec.given->scale[i] : spec.given->scale[i] * factor;
  } else {
    own.resize(n * k);
    q = own.data();
    const std::vector<float> folded = multiplier.empty() ? std::vector<float>() : times_columns(w, multiplier);
    quantize_rows(executor, multiplier.empty() ? w.data() : folded.data(), n, k, own.data(), scale_.data());
    const auto value = [&](size_t row, size_t c) {
      return own[row * k + c] * double{scale_[row]} / (multiplier.empty() ? 1.0 : double{multiplier[c]});
    };
    if (spec.inverse != nullptr) {
      const auto nearest = [&](size_t row, size_t c, double x) {
        const double folded_x = x * (multiplier.empty() ? 1.0 : double{multiplier[c]}) / double{scale_[row]};
        own[row * k + c] = static_cast<int8_t>(round_to_int(std::clamp(folded_x, -127.0, 127.0)));
        return value(row, c);
      };
      round_all(executor, spec, w, n, k, {.nearest = nearest, .rescale = {}});
    }
    correct_bias(executor, spec, w, value);
  }
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_s8(q + first * k, rows, k, packed + panel * packed_s8_panel_bytes(k));
    row_sums(q + first * k, rows, k, sum_.data() + first);
  });
  if (spec.scheme == Scheme::kStatic) {
    input_inv_ = spec.static_input->inv;
    view_.input_zero = {spec.static_input->zero};
  } else if (!multiplier.empty()) {
    input_inv_.resize(padded_outputs(k));
    for (size_t c = 0; c < k; ++c) input_inv_[c] = 1.0f / multiplier[c];
  } else if (spec.scheme == Scheme::kDynamic && own.empty() && !spec.given->input_inv.empty()) {
    input_inv_ = spec.given->input_inv;
    input_inv_.resize(padded_outputs(k));
  }
  view_int8();
}

void PackedLinear::view_int8() {
  view_.input_inv = input_inv_.empty() ? nullptr : input_inv_.data();
  view_.weight_s8 = reinterpret_cast<const int8_t*>(weight_.data());
  view_.scale = scale_.data();
  view_.sum = sum_.data();
}

PackedLinear::PackedLinear(std::span<const PackedLinear> parts) : view_(parts.front().view_) {
  view_.n = view_.n * static_cast<int>(parts.size());
  view_.input_parts = static_cast<int>(parts.size());
  weight_ = AlignedBuffer(packed_s8_bytes(static_cast<size_t>(view_.n), static_cast<size_t>(view_.k)));
  std::byte* packed = weight_.data();
  const auto append = [](auto& dst, const auto& src) { dst.insert(dst.end(), src.begin(), src.end()); };
  for (size_t i = 0; i < parts.size(); ++i) {
    const PackedLinear& part = parts[i];
    view_.input_zero[i] = part.view_.input_zero[0];
    packed = std::copy_n(part.weight_.data(),
                         packed_s8_bytes(static_cast<size_t>(part.view_.n), static_cast<size_t>(view_.k)), packed);
    append(scale_, part.scale_);
    append(sum_, part.sum_);
    append(bias_, part.bias_);
    append(input_inv_, part.input_inv_);
  }
  view_int8();
  view_.bias = bias_.data();
}

void PackedLinear::pack_int4(Executor& executor, const PackSpec& spec, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  const auto group = static_cast<size_t>(spec.group_size), groups = (k + group - 1) / group, stride = padded_outputs(n);
  const std::vector<float> importance = input_importance(spec);
  scale_.resize(groups * stride);
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t /*panel*/) {
    for (size_t row = first; row < first + rows; ++row) {
      for (size_t g = 0; g < groups; ++g) {
        scale_[g * stride + row] =
            group_scale(w.data() + row * k + g * group, importance.empty() ? nullptr : importance.data() + g * group,
                        std::min(group, k - g * group));
      }
    }
  });
  std::vector<int8_t> q(n * k);
  const auto value = [&](size_t row, size_t c) { return q[row * k + c] * double{scale_[c / group * stride + row]}; };
  const auto nearest = [&](size_t row, size_t c, double x) {
    const double level = std::clamp(x / double{scale_[c / group * stride + row]}, -8.0, 7.0);
    q[row * k + c] = static_cast<int8_t>(round_to_int(level));
    return value(row, c);
  };
  const auto rescale = [&](size_t row, size_t c, double factor) {
    float& scale = scale_[c / group * stride + row];
    const double before = scale;
    scale = static_cast<float>(before * factor);
    return double{scale} / before;
  };
  round_all(executor, spec, w, n, k, {.nearest = nearest, .rescale = rescale, .block = group});
  correct_bias(executor, spec, w, value);
  weight_ = AlignedBuffer(packed_4bit_bytes(n, k));
  auto* packed = reinterpret_cast<uint8_t*>(weight_.data());
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_4bit(q.data() + first * k, rows, k, packed + panel * packed_4bit_panel_bytes(k));
  });
  view_.weight_4bit = packed;
  view_.group_scale = scale_.data();
  view_.group_size = spec.group_size;
}

void PackedLinear::pack_codebook(Executor& executor, const PackSpec& spec, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  scale_.resize(padded_outputs(n));
  const std::vector<float> importance = input_importance(spec);
  set_codebook_scales(w, importance, n, scale_.data());
  std::vector<float> normalized(n * k), weight(n * k);
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t /*panel*/) {
    for (size_t row = first; row < first + rows; ++row) {
      for (size_t c = 0; c < k; ++c) {
        normalized[row * k + c] = w[row * k + c] / scale_[row];
        weight[row * k + c] = scale_[row] * scale_[row] * (importance.empty() ? 1.0f : importance[c]);
      }
    }
  });
  const Codebook codebook = kmeans16(normalized, weight);
  codebook_.assign(codebook.begin(), codebook.end());
  std::vector<int8_t> q(n * k);
  const auto value = [&](size_t row, size_t c) {
    return double{codebook_[static_cast<size_t>(q[row * k + c])]} * double{scale_[row]};
  };
  const auto nearest = [&](size_t row, size_t c, double x) {
    q[row * k + c] = static_cast<int8_t>(nearest_entry(codebook, x / double{scale_[row]}));
    return value(row, c);
  };
  round_all(executor, spec, w, n, k, {.nearest = nearest, .rescale = {}});
  correct_bias(executor, spec, w, value);
  weight_ = AlignedBuffer(packed_4bit_bytes(n, k));
  auto* packed = reinterpret_cast<uint8_t*>(weight_.data());
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_4bit(q.data() + first * k, rows, k, packed + panel * packed_4bit_panel_bytes(k));
  });
  view_.weight_4bit = packed;
  view_.scale = scale_.data();
  view_.codebook = codebook_.data();
}

}  // namespace octobert::converter
