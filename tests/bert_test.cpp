// The forward pass against a plain one: double precision, one token after the other, unpacked weights.
#include "engine/bert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/profile.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "tests/static_model.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

using format::Scheme;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

// What the packed weights mean, whatever the scheme.
double weight(const Linear& l, size_t n, size_t k) {
  const auto depth = static_cast<size_t>(l.k);
  const size_t lane = (k / 8 * 16 + n % 16) * 4 + k % 8 / 2;  // of 4-bit weights, in their panel
  const auto nibble = [&] { return l.weight_4bit[n / 16 * packed_4bit_panel_bytes(depth) + lane] >> (k % 2 * 4) & 15; };
  switch (l.scheme) {
    case Scheme::kFloat:
      return l.weight_f32[packed_f32_offset(n, k, depth)];
    case Scheme::kCodebook:
      return double{l.scale[n]} * l.codebook[nibble()];
    case Scheme::kWeightOnlyInt4: {
      const size_t group = k / static_cast<size_t>(l.group_size), padded = padded_outputs(static_cast<size_t>(l.n));
      return double{l.group_scale[group * padded + n]} * (nibble() < 8 ? nibble() : nibble() - 16);
    }
    default:  // what the input is multiplied by, the weights make good
      return double{l.scale[n]} * l.weight_s8[packed_s8_offset(n, k, depth)] * (l.input_inv ? l.input_inv[k] : 1.0f);
  }
}

Row project(const Linear& l, const Row& x) {
  Row y(static_cast<size_t>(l.n));
  for (size_t n = 0; n < y.size(); ++n) {
    y[n] = l.bias[n];
    for (size_t k = 0; k < x.size(); ++k) y[n] += weight(l, n, k) * x[k];
  }
  return y;
}

Row layer_norm(const Row& x, const LayerNormWeights& w, double eps) {
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = (x[i] - mean) / std::sqrt(variance + eps) * w.gamma[i] + w.beta[i];
  return y;
}

double activate(double x, uint32_t activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kNone:
      break;
  }
  return x;
}

Row sum(const Row& a, const Row& b) {
  Row y(a);
  for (size_t i = 0; i < y.size(); ++i) y[i] += b[i];
  return y;
}

// Attention of one text: qkv rows in, context rows out.
Rows attend(const Rows& qkv, size_t heads) {
  const size_t d = qkv[0].size() / 3, head_dim = d / heads, s = qkv.size();
  Rows context(s, Row(d));
  for (size_t h = 0; h < heads; ++h) {
    for (size_t i = 0; i < s; ++i) {
      Row p(s);
      double total = 0;
      for (size_t j = 0; j < s; ++j) {
        double score = 0;
        for (size_t c = h * head_dim; c < (h + 1) * head_dim; ++c) score += qkv[i][c] * qkv[j][d + c];
        total += p[j] = std::exp(score / std::sqrt(static_cast<double>(head_dim)));
      }
      for (size_t j = 0; j < s; ++j) {
        for (size_t c = h * head_dim; c < (h + 1) * head_dim; ++c) context[i][c] += p[j] / total * qkv[j][2 * d + c];
      }
    }
  }
  return context;
}

Rows reference_logits(const BertModel& m, const PackedBatch& text) {
  const size_t d = m.config.hidden_size;
  const double eps = m.config.layer_norm_eps;
  const Embeddings& e = m.embeddings;
  Rows hidden;
  for (size_t i = 0; i < text.ids.size(); ++i) {
    const auto id = static_cast<size_t>(text.ids[i]);
    const size_t type = text.type_ids.empty() ? 0 : static_cast<size_t>(text.type_ids[i]);
    Row x(d);
    for (size_t c = 0; c < d; ++c) {
      const double word = e.word_s8 ? double{e.word_scale[id]} * e.word_s8[id * d + c] : double{e.word_f32[id * d + c]};
      x[c] = word + e.position[i * d + c] + e.type[type * d + c];
    }
    hidden.push_back(layer_norm(x, e.norm, eps));
  }
  for (const EncoderLayer& layer : m.layers) {
    Rows qkv;
    for (const Row& x : hidden) qkv.push_back(project(layer.qkv, x));
    const Rows context = attend(qkv, m.config.head_count);
    for (size_t i = 0; i < hidden.size(); ++i) {
      hidden[i] = layer_norm(sum(project(layer.attention_output, context[i]), hidden[i]), layer.attention_norm, eps);
      Row f = project(layer.ffn1, hidden[i]);
      for (double& v : f) v = activate(v, m.config.activation);
      hidden[i] = layer_norm(sum(project(layer.ffn2, f), hidden[i]), layer.ffn_norm, eps);
    }
  }
  Rows logits;
  for (const Row& x : hidden) logits.push_back(project(m.classifier, x));
  return logits;
}

std::vector<float> run(const BertModel& model, const PackedBatch& batch, Executor* executor = nullptr) {
  std::vector<float> logits(batch.ids.size() * model.config.label_count);
  BertState state;
  forward({.kernels = &best_table(detect_cpu_features()), .executor = executor}, model, batch, logits, state);
  return logits;
}

// Relative to the largest logit.
double worst_error(const TinyModel& tiny, const std::vector<int>& lengths) {
  const RandomBatch random(tiny.spec(), lengths, 7);
  const auto logits = run(tiny.model(), random.batch());
  double error = 0, largest = 0;
  size_t at = 0;
  for (size_t s = 0; s + 1 < random.offsets.size(); ++s) {
    const RandomBatch one = random.sequence(s);
    for (const Row& row : reference_logits(tiny.model(), one.batch())) {
      for (const double expected : row) {
        error = std::max(error, std::abs(expected - double{logits[at++]}));
        largest = std::max(largest, std::abs(expected));
      }
    }
  }
  EXPECT_EQ(at, logits.size());
  return error / largest;
}

std::vector<TinySpec> shapes(Scheme scheme) {
  std::vector<TinySpec> specs{
      {.hidden = 1, .heads = 1, .intermediate = 1, .labels = 1},
      {.hidden = 24, .heads = 3, .intermediate = 40},
      {.layers = 0},
      {.hidden = 33, .heads = 11, .intermediate = 7, .labels = 17},
      {.hidden = 70, .heads = 2, .intermediate = 130, .types = 1, .labels = 33, .activation = Activation::kGeluTanh},
      {.hidden = 64,
       .layers = 3,
       .heads = 4,
       .intermediate = 256,
       .activation = Activation::kRelu,
       .layer_norm_eps = 1e-5f},
      {.hidden = 52, .heads = 52, .intermediate = 64},
  };
  for (TinySpec& spec : specs) spec.scheme = scheme;
  return specs;
}

class Reference : public testing::TestWithParam<TinySpec> {};
TEST_P(Reference, IsMet) {
  const TinyModel tiny(GetParam());
  // hidden 1 normalises to a constant, whatever comes in: fine for all schemes.
  // Integers: a few hundredths after two layers of rounding to 127 levels; a wrong scale or column would be of order 1.
  const double bound = tiny.spec().scheme == Scheme::kDynamic ? 0.1 : 2e-5;
  EXPECT_LE(worst_error(tiny, {1, 5, 17, 64, 2}), bound) << describe(tiny.spec());
}
INSTANTIATE_TEST_SUITE_P(Float, Reference, testing::ValuesIn(shapes(Scheme::kFloat)));
INSTANTIATE_TEST_SUITE_P(WeightOnly, Reference, testing::ValuesIn(shapes(Scheme::kWeightOnly)));
INSTANTIATE_TEST_SUITE_P(Int4, Reference, testing::ValuesIn(shapes(Scheme::kWeightOnlyInt4)));
INSTANTIATE_TEST_SUITE_P(Codebook, Reference, testing::ValuesIn(shapes(Scheme::kCodebook)));
INSTANTIATE_TEST_SUITE_P(Dynamic, Reference, testing::ValuesIn(shapes(Scheme::kDynamic)));

std::vector<TinySpec> smoothed_shapes() {
  std::vector<TinySpec> specs = shapes(Scheme::kDynamic);
  for (TinySpec& spec : specs) spec.smoothed = true;
  return specs;
}
INSTANTIATE_TEST_SUITE_P(Smoothed, Reference, testing::ValuesIn(smoothed_shapes()));

// Ranges found on other texts than those that are compared. Of a normal distribution cut at 4 sigma, 255 levels leave
// (8 / 255)^2 / 12 = 8e-5 of the power as noise; two layers round some twenty times on the way to the logits.
TEST(Bert, StaticIsCloseToTheFloatModelItWasMadeFrom) {
  for (const TinySpec& spec : shapes(Scheme::kFloat)) {
    const TinyModel tiny(spec);
    const RandomBatch calibration(spec, {64, 3, 30, 64, 17, 50}, 3), texts(spec, {1, 5, 17, 64, 2, 40}, 7);
    const StaticModel fixed(tiny.model(), calibration.batch());
    const auto expected = run(tiny.model(), texts.batch()), found = run(fixed.model(), texts.batch());
    double error = 0, signal = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      error += std::pow(double{expected[i]} - double{found[i]}, 2);
      signal += std::pow(double{expected[i]}, 2);
    }
    EXPECT_LE(error, 20 * 8e-5 * signal) << describe(spec) << ": " << 10 * std::log10(signal / error) << " dB";
  }
}

TEST(Bert, StaticCountsWhatItClips) {
  const TinyModel tiny({.hidden = 64, .heads = 4, .intermediate = 256, .scheme = Scheme::kFloat});
  const RandomBatch texts(tiny.spec(), {30, 64, 9}, 7);
  const size_t sites = 2 * kClipSites + 1;
  const auto clipped = [&](float margin, Executor* executor, bool watched) {
    const StaticModel fixed(tiny.model(), texts.batch(), margin);
    std::vector<float> logits(texts.ids.size() * tiny.spec().labels);
    BertState state;
    const Observer nothing = [](const Intermediate&) {};
    forward(
        {.kernels = &best_table(detect_cpu_features()), .executor = executor, .observer = watched ? &nothing : nullptr},
        fixed.model(), texts.batch(), logits, state);
    std::vector<uint64_t> counts;
    for (size_t i = 0; i < sites; ++i) counts.push_back(state.clipped(i));
    return counts;
  };
  // In the range that was found on these texts: nothing, at the first site at least, before any rounding.
  EXPECT_EQ(clipped(1.0f, nullptr, false)[0], 0u);
  const auto half = clipped(0.5f, nullptr, false);
  ThreadPool pool(3);
  EXPECT_EQ(clipped(0.5f, &pool, false), half);
  EXPECT_EQ(clipped(0.5f, &pool, true), half);  // where floats are made first, for an observer
  for (size_t i = 0; i < sites; ++i) {
    if (kCountClipped) {
      EXPECT_GT(half[i], 0u) << "site " << i;
    }
    EXPECT_LT(half[i], texts.ids.size() * 256 / 2) << "site " << i;
  }
}

TEST(Bert, EachInputPartIsAProductOfItsOwn) {
  const TinyModel tiny(
      {.hidden = 48, .layers = 2, .heads = 3, .intermediate = 64, .scheme = Scheme::kStatic, .split_inputs = true});
  const RandomBatch texts(tiny.spec(), {30, 64, 9}, 7);
  const auto d = static_cast<size_t>(tiny.spec().hidden);
  struct Result {
    Rows qkv;  // of the second layer: its first part's bytes are LayerNorm's
    uint64_t clipped;
  };
  const auto qkv = [&](const BertModel& model) {
    Result result;
    const Observer observer = [&](const Intermediate& i) {
      for (int row = 0; i.name == "layer.1.qkv" && row < i.rows; ++row) {
        const float* data = i.data + static_cast<size_t>(row) * i.stride;
        result.qkv.emplace_back(data, data + i.columns);
      }
    };
    std::vector<float> logits(texts.ids.size() * tiny.spec().labels);
    BertState state;
    forward({.kernels = &best_table(detect_cpu_features()), .observer = &observer}, model, texts.batch(), logits,
            state);
    result.clipped = state.clipped(kClipSites + static_cast<size_t>(ClipSite::kQkvInput));
    return result;
  };
  const Result split = qkv(tiny.model());
  ASSERT_EQ(split.qkv.size(), texts.ids.size());
  uint64_t clipped = 0;
  for (size_t p = 0; p < kMaxInputParts; ++p) {
    BertModel whole = tiny.model();  // all three of the p-th part's input
    Linear& product = whole.layers[1].qkv;
    product.input_parts = 1;
    product.input_inv += p * d;
    product.input_zero = {product.input_zero[p]};
    const Result one = qkv(whole);
    clipped += one.clipped;
    for (size_t row = 0; row < one.qkv.size(); ++row) {
      EXPECT_TRUE(std::equal(one.qkv[row].begin() + static_cast<std::ptrdiff_t>(p * d),
                             one.qkv[row].begin() + static_cast<std::ptrdiff_t>((p + 1) * d),
                             split.qkv[row].begin() + static_cast<std::ptrdiff_t>(p * d)))
          << "part " << p << ", row " << row;
    }
    EXPECT_NE(one.qkv, split.qkv);
  }
  EXPECT_EQ(split.clipped, clipped);
  EXPECT_EQ(clipped > 0, kCountClipped);
}

TEST(Bert, EveryProductMayHaveItsOwnScheme) {
  constexpr Scheme kF = Scheme::kFloat, kW = Scheme::kWeightOnly, kD = Scheme::kDynamic;
  const std::vector<std::vector<Scheme>> mixes = {{kF, kD, kD, kW, kD, kF, kD, kF, kF, kD, kF, kD, kW},
                                                  {kD, kF, kF, kD, kW, kD, kW, kD, kD, kF, kD, kW, kD},
                                                  {kW, kF, kF, kF, kF, kD, kF, kD, kD, kD, kD, kD, kF},
                                                  {kD, kD, kD, kD, kD, kD, kD, kD, kD, kD, kD, kD, kD}};
  for (const auto& products : mixes) {
    const TinyModel tiny({.products = products});
    EXPECT_LE(worst_error(tiny, {3, 40, 1}), 0.1);
  }
}

TEST(Bert, PartsAreTheWhole) {
  for (const InputForm& next : {InputForm{}, InputForm{Scheme::kDynamic}}) {  // a wrong guess changes nothing
    const TinyModel tiny({.layers = 3});
    const RandomBatch random(tiny.spec(), {9, 30}, 3);
    const RunContext context{.kernels = &best_table(detect_cpu_features())};
    std::vector<float> logits(random.ids.size() * tiny.spec().labels);
    BertState state;
    embed(context, tiny.model().config, tiny.model().embeddings, random.batch(), state);
    for (int l = 0; l < 3; ++l) {
      encoder_layer(context, tiny.model().config, tiny.model().layers[static_cast<size_t>(l)], l, {next}, state);
    }
    classify(context, tiny.model().config, tiny.model().classifier, logits, state);
    EXPECT_EQ(logits, run(tiny.model(), random.batch()));
  }
}

TEST(Bert, SliceOfALongerBatch) {
  const TinyModel tiny({});
  const RandomBatch random(tiny.spec(), {9, 30, 4}, 3);
  const auto all = run(tiny.model(), random.batch());
  const PackedBatch slice{.ids = std::span(random.ids).subspan(9),
                          .type_ids = std::span(random.type_ids).subspan(9),
                          .offsets = std::span(random.offsets).subspan(1)};
  const auto part = run(tiny.model(), slice);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 9 * tiny.spec().labels));
}

TEST(Bert, ObserverSeesEveryResultAndChangesNothing) {
  for (const Scheme scheme : {Scheme::kFloat, Scheme::kWeightOnly, Scheme::kDynamic, Scheme::kStatic}) {
    const TinyModel tiny({.scheme = scheme});
    const RandomBatch random(tiny.spec(), {20, 40, 50}, 5);
    const int tokens = 110;
    std::vector<std::string> names;
    std::map<std::string, std::vector<float>> last_rows;
    const Observer observer = [&](const Intermediate& i) {
      EXPECT_EQ(i.rows, tokens);
      const float* row = i.data + static_cast<size_t>(i.rows - 1) * i.stride;
      names.emplace_back(i.name);
      last_rows[names.back()].assign(row, row + i.columns);
    };
    ThreadPool pool(3);
    std::vector<float> logits(random.ids.size() * tiny.spec().labels);
    BertState state;
    forward({.kernels = &best_table(detect_cpu_features()), .executor = &pool, .observer = &observer}, tiny.model(),
            random.batch(), logits, state);
    EXPECT_EQ(logits, run(tiny.model(), random.batch()));
    const std::vector<std::string> expected = {"embeddings",
                                               "layer.0.qkv",
                                               "layer.0.context",
                                               "layer.0.attention_output",
                                               "layer.0.attention_norm",
                                               "layer.0.ffn1",
                                               "layer.0.ffn2",
                                               "layer.0.ffn_norm",
                                               "layer.1.qkv",
                                               "layer.1.context",
                                               "layer.1.attention_output",
                                               "layer.1.attention_norm",
                                               "layer.1.ffn1",
                                               "layer.1.ffn2",
                                               "layer.1.ffn_norm",
                                               "logits"};
    EXPECT_EQ(names, expected);
    EXPECT_EQ(last_rows["layer.1.qkv"].size(), 72u);
    EXPECT_EQ(last_rows["layer.1.ffn1"].size(), 40u);
    EXPECT_EQ(last_rows["logits"], std::vector<float>(logits.end() - 5, logits.end()));
  }
}

TEST(Bert, ProfileCountsEveryStep) {
  const TinyModel tiny({});
  const RandomBatch random(tiny.spec(), std::vector<int>(40, 60), 5);
  ThreadPool pool(2);
  Profile profile;
  profile.reset(2, pool.concurrency());
  std::vector<float> logits(random.ids.size() * tiny.spec().labels);
  BertState state;
  forward({.kernels = &best_table(detect_cpu_features()), .executor = &pool, .profile = &profile}, tiny.model(),
          random.batch(), logits, state);
  EXPECT_EQ(logits, run(tiny.model(), random.batch()));
  for (int layer = 0; layer < 2; ++layer) {
    for (const Step step : {Step::kQkv, Step::kAttention, Step::kQuantizeContext, Step::kAttentionOutput,
                            Step::kAttentionNorm, Step::kFfn1, Step::kQuantizeFfn, Step::kFfn2, Step::kFfnNorm}) {
      EXPECT_GT(profile.nanoseconds(layer, step), 0u) << step_name(step);
    }
  }
  EXPECT_GT(profile.nanoseconds(0, Step::kQuantizeInput), 0u);  // after the embeddings
  EXPECT_EQ(profile.nanoseconds(1, Step::kQuantizeInput), 0u);  // LayerNorm has done it
  EXPECT_GT(profile.nanoseconds(-1, Step::kEmbeddings), 0u);
  EXPECT_GT(profile.nanoseconds(-1, Step::kClassifier), 0u);
}

}  // namespace
}  // namespace octobert::test
