// Engine: options, environments, errors for what can't be computed, cancelling, replay of test vectors.
#include <gtest/gtest.h>

#include <cfenv>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/engine_access.h"
#include "engine/verify_vectors.h"
#include "octobert/engine.h"
#include "tests/engine_test_util.h"
#include "tests/packed_image.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

using format::Scheme;

TEST(ClippedShares, AreThoseOfTheStaticProducts) {
  constexpr Scheme kF = Scheme::kFloat, kD = Scheme::kDynamic, kS = Scheme::kStatic;
  const TinySpec spec{.layers = 1, .products = {kS, kS, kS, kD, kF, kS, kS}};
  const TinyModel tiny(spec);
  const auto bytes = tiny.pack();
  const RandomBatch batch(spec, std::vector<int>(40, 64), 3);  // 2560 tokens: several chunks
  std::vector<uint64_t> counts;
  for (const int threads : {1, 3}) {
    const Engine engine = Engine::open_memory(bytes, {.threads = threads});
    if (!kCountClipped) {
      EXPECT_TRUE(engine.clipped().empty());
      continue;
    }
    logits_of(engine, batch);
    const auto once = engine.clipped();
    logits_of(engine, batch);
    const auto twice = engine.clipped();
    const std::vector<std::pair<std::string, uint64_t>> expected = {
        {"layer.0.qkv", 24}, {"layer.0.scores", 72}, {"layer.0.ffn2", 40}, {"classifier", 24}};
    ASSERT_EQ(once.size(), expected.size());
    counts.resize(once.size());
    for (size_t i = 0; i < once.size(); ++i) {
      EXPECT_EQ(once[i].product, expected[i].first);
      EXPECT_EQ(once[i].values, 2560 * expected[i].second);
      EXPECT_GT(once[i].clipped, 0u) << once[i].product;
      EXPECT_LT(once[i].clipped, once[i].values / 4) << once[i].product;
      EXPECT_EQ(twice[i].values, 2 * once[i].values);
      EXPECT_EQ(twice[i].clipped, 2 * once[i].clipped);
      if (threads == 1) counts[i] = once[i].clipped;
      EXPECT_EQ(once[i].clipped, counts[i]);
    }
  }
  const TinyModel dynamic({});
  const auto dynamic_bytes = dynamic.pack();
  EXPECT_TRUE(Engine::open_memory(dynamic_bytes, {.threads = 1}).clipped().empty());
}

class EngineTest : public testing::Test {
 protected:
  EngineTest() : tiny_({.layers = 2}), bytes_(tiny_.pack()), engine_(Engine::open_memory(bytes_, {.threads = 2})) {}

  void expect_invalid(const PackedBatch& batch, size_t logits, const std::string& part) {
    std::vector<float> out(logits);
    try {
      Workspace workspace;
      engine_.logits(batch, out, workspace);
      ADD_FAILURE() << "accepted; expected " << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidInput);
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  }

  TinyModel tiny_;
  std::vector<std::byte> bytes_;
  Engine engine_;
};

TEST_F(EngineTest, Info) {
  EXPECT_EQ(engine_.info().hidden_size, 24);
  EXPECT_EQ(engine_.info().scheme, "dynamic");
  EXPECT_EQ(engine_.info().activation, "gelu");
  EXPECT_EQ(engine_.labels().size(), 5u);
  EXPECT_EQ(engine_.labels()[0], "O");
  EXPECT_EQ(engine_.threads(), 2);
  EXPECT_EQ(engine_.tokenizer().vocab_size(), 50u);
  EXPECT_FALSE(engine_.isa().empty());
}

TEST_F(EngineTest, TypeIdsDefaultToZero) {
  RandomBatch b(tiny_.spec(), {10, 3}, 1, false);
  const auto without = logits_of(engine_, b);
  b.type_ids.assign(b.ids.size(), 0);
  expect_equal_bits(logits_of(engine_, b), without, "zeros");
  b.type_ids.assign(b.ids.size(), 1);
  EXPECT_NE(logits_of(engine_, b), without);
}

TEST_F(EngineTest, NothingInNothingOut) {
  Workspace workspace;
  const std::vector<int32_t> offsets{0};
  engine_.logits({.ids = {}, .type_ids = {}, .offsets = offsets}, {}, workspace);
}

TEST_F(EngineTest, BadInputIsNamed) {
  const std::vector<int32_t> ids{1, 2, 3, 4}, types{0, 1, 0, 1}, offsets{0, 1, 4};
  const auto with_ids = [&](std::vector<int32_t> v, const std::string& part) {
    expect_invalid({.ids = v, .type_ids = {}, .offsets = offsets}, 20, part);
  };
  const auto with_offsets = [&](std::vector<int32_t> v, const std::string& part) {
    expect_invalid({.ids = ids, .type_ids = types, .offsets = v}, 20, part);
  };
  with_ids({1, 2, 50, 4}, "ids[2] is 50, expected 0 to 49");
  with_ids({-1, 2, 3, 4}, "ids[0] is -1");
  with_ids({1, 2, 3}, "offsets[2] is 4, expected 3");
  with_offsets({}, "offsets is empty");
  with_offsets({1, 4}, "offsets[0] is 1");
  with_offsets({0, 2, 2, 4}, "offsets[2] is 2, expected 2 plus a length of 1 to 64");
  with_offsets({0, 3, 2, 4}, "offsets[2] is 2");
  with_offsets({0, 5}, "offsets[1] is 5, expected 4");
  with_offsets({0, 3}, "offsets[1] is 3, expected 4");
  with_offsets({0, std::numeric_limits<int32_t>::min()}, "offsets[1]");
  with_offsets({0, std::numeric_limits<int32_t>::max()}, "a length of 1 to 64");
  expect_invalid({.ids = ids, .type_ids = std::span(types).first(3), .offsets = offsets}, 20, "type_ids has 3 entries");
  const std::vector<int32_t> bad_types{0, 1, 2, 1};
  expect_invalid({.ids = ids, .type_ids = bad_types, .offsets = offsets}, 20, "type_ids[2] is 2, expected 0 to 1");
  expect_invalid({.ids = ids, .type_ids = types, .offsets = offsets}, 19, "room for 19 values, expected 20");
  expect_invalid({.ids = ids, .type_ids = types, .offsets = offsets}, 21, "room for 21 values, expected 20");
  const std::vector<int32_t> long_ids(65, 1), long_offsets{0, 65};
  expect_invalid({.ids = long_ids, .type_ids = {}, .offsets = long_offsets}, 325, "length of 1 to 64");
}

TEST_F(EngineTest, BadOptionsAreNamed) {
  const auto fails = [&](const OpenOptions& options, ErrorCode code, const std::string& part) {
    try {
      Engine::open_memory(bytes_, options);
      ADD_FAILURE() << "opened; expected " << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code);
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  fails({.isa = "avx9000"}, ErrorCode::kInvalidInput, "'avx9000' is not in this build, which has scalar");
  fails({.threads = -1}, ErrorCode::kInvalidInput, "threads is -1");
  for (const IsaInfo& isa : compiled_isas()) {
    if (!isa.available) fails({.isa = isa.name}, ErrorCode::kUnsupported, "not available");
  }
}

TEST_F(EngineTest, TokenizerLargerThanTheModel) {
  PackedImage image(TinyModel({.vocab = 50}).pack());
  const auto smaller = TinyModel({.vocab = 49}).pack();
  PackedImage other(smaller);
  // The 49-word model with the 50-word tokenizer.
  auto& from = image.section("tokenizer");
  auto& to = other.section("tokenizer");
  const auto& next = other.sections()[static_cast<size_t>(&to - other.sections().data()) + 1];
  ASSERT_LE(to.offset + from.size, next.offset + 64);
  if (to.offset + from.size > next.offset) GTEST_SKIP() << "the larger tokenizer does not fit where the smaller was";
  to.size = from.size;
  std::memcpy(&other.body<std::byte>("tokenizer"), &image.body<std::byte>("tokenizer"), from.size);
  other.fix_checksums();
  EXPECT_THROW(Engine::open_memory(other.view()), Error);
}

TEST_F(EngineTest, CancelledBeforeAndDuring) {
  const RandomBatch b(tiny_.spec(), std::vector<int>(2000, 64), 1);
  std::vector<float> logits(b.ids.size() * 5);
  Workspace workspace;
  CancelToken cancel;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    cancel.cancel();
  });
  const auto run = [&] { engine_.logits(b.batch(), logits, workspace, &cancel); };
  const auto code = [&] {
    try {
      for (;;) run();  // until it is cancelled, however fast the machine
    } catch (const Error& e) {
      return e.code();
    }
  };
  EXPECT_EQ(code(), ErrorCode::kCancelled);
  other.join();
  EXPECT_EQ(code(), ErrorCode::kCancelled);
  // The workspace is as good as new.
  const RandomBatch small(tiny_.spec(), {5}, 1);
  std::vector<float> again(25);
  engine_.logits(small.batch(), again, workspace);
  expect_equal_bits(again, logits_of(engine_, small), "after a cancelled call");
}

TEST_F(EngineTest, WorkspaceMovedFromStillWorks) {
  Workspace a;
  Workspace b = std::move(a);
  const RandomBatch batch(tiny_.spec(), {5}, 1);
  std::vector<float> logits(25);
  engine_.logits(batch.batch(), logits, a);  // NOLINT(bugprone-use-after-move): that is the point
  engine_.logits(batch.batch(), logits, b);
}

TEST_F(EngineTest, EveryWayOfOpeningGivesTheSame) {
  const TemporaryFolder folder;
  const auto path = folder / "model.octo";
  write_file(path, {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()});
  const RandomBatch b(tiny_.spec(), {40, 3}, 2);
  const auto expected = logits_of(engine_, b);
  const Engine mapped = Engine::open(path, {.verify_all = true});
  const Engine loaded = Engine::open(path, {.load_into_memory = true});
  std::vector<std::byte> shifted(bytes_.size() + 3);
  std::copy(bytes_.begin(), bytes_.end(), shifted.begin() + 3);
  const Engine unaligned = Engine::open_memory(std::span(shifted).subspan(3));
  expect_equal_bits(logits_of(mapped, b), expected, "mapped");
  expect_equal_bits(logits_of(loaded, b), expected, "loaded");
  expect_equal_bits(logits_of(unaligned, b), expected, "unaligned");

  // Replaced by rename: the mapped engine keeps the file it opened. Cut off in place: the loaded one does not care.
  std::filesystem::copy_file(path, folder / "old.octo");
  std::filesystem::resize_file(folder / "old.octo", 0);
  std::filesystem::rename(folder / "old.octo", path);
  expect_equal_bits(logits_of(mapped, b), expected, "replaced while mapped");
  expect_equal_bits(logits_of(loaded, b), expected, "replaced after loading");
}

// Threads of the caller's, with another floating-point environment, that run tasks in an order of their own.
class OddExecutor : public Executor {
 public:
  int concurrency() const override { return 7; }
  void run(int count, void (*task)(void*, int), void* context) override {
    std::vector<std::thread> threads;
    for (int i = count; i-- > 0;) {
      threads.emplace_back([=] {
        spoil_environment();
        task(context, i);
      });
      if (i % 2 == 0) threads.back().join(), threads.pop_back();
    }
    for (auto& t : threads) t.join();
  }
  static void spoil_environment() {
    std::fesetround(FE_TOWARDZERO);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);  // FTZ, DAZ
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" ::"r"(fpcr | (uint64_t{1} << 24)));  // FZ
#endif
  }
};

TEST_F(EngineTest, CallersExecutorAndEnvironmentChangeNothing) {
  const RandomBatch b(tiny_.spec(), {64, 64, 64, 10, 64, 64, 20}, 4);
  const auto expected = logits_of(engine_, b);
  const Engine odd = Engine::open_memory(bytes_, {.executor = std::make_shared<OddExecutor>()});
  EXPECT_EQ(odd.threads(), 7);
  std::fenv_t saved;
  std::fegetenv(&saved);
  OddExecutor::spoil_environment();
  const auto spoiled = logits_of(engine_, b);
  const auto spoiled_everywhere = logits_of(odd, b);
  const int rounding = std::fegetround();
#if defined(__x86_64__)
  const unsigned flags = _mm_getcsr() & 0x8040;
#endif
  std::fesetenv(&saved);
  EXPECT_EQ(rounding, FE_TOWARDZERO) << "the caller's environment is restored";
#if defined(__x86_64__)
  EXPECT_EQ(flags, 0x8040u);
#endif
  expect_equal_bits(spoiled, expected, "spoiled caller");
  expect_equal_bits(spoiled_everywhere, expected, "spoiled caller and executor");
}

TEST_F(EngineTest, ManyThreadsAtOnce) {
  const auto pool = std::make_shared<ThreadPool>(3);
  const Engine shared_pool = Engine::open_memory(bytes_, {.executor = pool});
  std::vector<RandomBatch> batches;
  std::vector<std::vector<float>> expected;
  for (uint32_t i = 0; i < 6; ++i) {
    batches.emplace_back(tiny_.spec(), std::vector<int>{static_cast<int>(10 * i + 1), 64, 64, 30}, i);
    expected.push_back(logits_of(engine_, batches.back()));
  }
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        expect_equal_bits(logits_of(t % 2 == 0 ? engine_ : shared_pool, batches[t]), expected[t], "concurrent");
      }
    });
  }
  for (auto& t : threads) t.join();
}

TEST_F(EngineTest, BrokenWeightsAreANumericError) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto* name :
       {"layer.0.qkv.scale", "layer.0.attention_output.scale", "layer.1.ffn1.scale", "layer.1.ffn2.bias",
        "classifier.bias", "layer.0.attention_norm.gamma", "embeddings.norm.beta", "embeddings.position"}) {
    for (const float value : {nan, infinity}) {
      for (const IsaInfo& isa : compiled_isas()) {
        if (!isa.available) continue;
        PackedImage image(bytes_);
        image.data<float>(image.tensor(name))[0] = value;
        image.fix_checksums();
        const Engine broken = Engine::open_memory(image.view(), {.threads = 1, .isa = isa.name});
        try {
          logits_of(broken, RandomBatch(tiny_.spec(), {20}, 1));
          ADD_FAILURE() << name << " = " << value << " on " << isa.name << " gave logits";
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::kNumeric) << e.what();
          EXPECT_NE(std::string(e.what()).find("token 0, label"), std::string::npos) << e.what();
        }
      }
    }
  }
}

TEST_F(EngineTest, AnyWeightByteIsHarmless) {
  for (const int value : {-128, 127, -1}) {
    PackedImage image(bytes_);
    for (const auto& tensor : image.tensors()) {
      const bool sums = std::string_view(tensor.name).ends_with(".sum");
      if (tensor.dtype == static_cast<uint32_t>(format::DType::kI8) || sums) {
        std::memset(image.data<int8_t>(tensor), value, tensor.size);
      }
    }
    image.fix_checksums();
    for (const IsaInfo& isa : compiled_isas()) {
      if (!isa.available) continue;
      const Engine odd = Engine::open_memory(image.view(), {.threads = 2, .isa = isa.name});
      try {
        logits_of(odd, RandomBatch(tiny_.spec(), {64, 64, 30}, 1));
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kNumeric) << e.what();
      }
    }
  }
}

TEST_F(EngineTest, TestVectorsAreReplayed) {
  const std::vector<int32_t> ids{2, 4, 7, 3};  // a ##b
  RandomBatch b(tiny_.spec(), {4}, 1, false);
  b.ids = ids;
  const auto logits = logits_of(engine_, b);
  const auto report = [&](const std::vector<TestVector>& vectors) {
    const auto packed = tiny_.pack(vectors);
    return verify_vectors(Engine::open_memory(packed, {.threads = 1}));
  };
  const VectorReport good = report({{.text = "ab", .ids = ids, .logits = logits}});
  EXPECT_EQ(good.vectors, 1u);
  EXPECT_EQ(good.tokens, 4u);
  EXPECT_TRUE(good.mismatches.empty()) << good.mismatches[0].message;

  auto wrong = logits;
  wrong[7] = std::nextafter(wrong[7], 100.0f);
  const VectorReport bad = report({{.text = "ab", .ids = ids, .logits = logits},
                                   {.text = "ab", .ids = ids, .logits = wrong},
                                   {.text = "ba", .ids = ids, .logits = logits},
                                   {.text = "abc", .ids = ids, .logits = logits}});
  ASSERT_EQ(bad.mismatches.size(), 3u);
  EXPECT_EQ(bad.mismatches[0].vector, 1u);
  EXPECT_NE(bad.mismatches[0].message.find("token 1, label 2: logit"), std::string::npos) << bad.mismatches[0].message;
  EXPECT_NE(bad.mismatches[1].message.find("token 1: id 6, expected 4"), std::string::npos)
      << bad.mismatches[1].message;
  EXPECT_NE(bad.mismatches[2].message.find("token 3: id 9, expected 3"), std::string::npos)
      << bad.mismatches[2].message;
}

TEST_F(EngineTest, TestVectorsThatLieAreRefused) {
  const auto packed = tiny_.pack({{.text = "abcde", .ids = {2, 4, 7, 3}, .logits = std::vector<float>(20)}});
  const auto tell = [&](size_t word, uint32_t value) {
    PackedImage image(packed);
    (&image.body<uint32_t>("test_vectors"))[word] = value;
    image.fix_checksums();
    EXPECT_THROW(verify_vectors(Engine::open_memory(image.view(), {.threads = 1})), Error) << word << " " << value;
  };
  for (const uint32_t value : {0u, 2u, 0xffffffffu}) tell(0, value);               // vectors
  for (const uint32_t value : {0u, 9u, 0xffffffffu, 0xfffffffdu}) tell(1, value);  // text bytes
  for (const uint32_t value : {0u, 3u, 5u, 65u, 0xffffffffu}) tell(2, value);      // tokens
  for (const uint32_t value : {0u, 4u, 6u, 0xffffffffu}) tell(3, value);           // labels
  for (const uint32_t value : {50u, 0xffffffffu}) tell(6, value);                  // the first id
}

TEST_F(EngineTest, AccessShowsTheParts) {
  EXPECT_EQ(EngineAccess::file(engine_).config().hidden_size, 24u);
  EXPECT_EQ(EngineAccess::model(engine_).layers.size(), 2u);
  EXPECT_EQ(EngineAccess::executor(engine_).concurrency(), 2);
  const RandomBatch b(tiny_.spec(), std::vector<int>(40, 64), 1);  // several chunks
  int tokens = 0;
  const Observer observer = [&](const Intermediate& i) { tokens += i.name == "logits" ? i.rows : 0; };
  BertState state;
  std::vector<float> logits(b.ids.size() * 5);
  EngineAccess::logits(engine_, b.batch(), logits, state, {.observer = &observer});
  EXPECT_EQ(tokens, 40 * 64);
  expect_equal_bits(logits, logits_of(engine_, b), "observed");
}

}  // namespace
}  // namespace octobert::test
