// The search for the fastest choice within a budget, on models made of formulas.
#include "converter/tune_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>

namespace octobert::converter {
namespace {

using format::Scheme;

TuneUnit unit(const std::string& name, double harm_static, double harm_dynamic, double harm_weight_only) {
  return {name,
          {{Scheme::kStatic, 0, harm_static},
           {Scheme::kDynamic, 1, harm_dynamic},
           {Scheme::kWeightOnly, 6, harm_weight_only},
           {Scheme::kFloat, 5, 0}}};
}

double harm(const std::vector<TuneUnit>& units, const Choice& choice) {
  double sum = 0;
  for (size_t i = 0; i < units.size(); ++i) sum += units[i].options[choice[i]].harm;
  return sum;
}

double seconds(const std::vector<TuneUnit>& units, const Choice& choice) {
  double sum = 0;
  for (size_t i = 0; i < units.size(); ++i) sum += units[i].options[choice[i]].seconds;
  return sum;
}

// Harms that add up exactly, a budget on their sum; counts the measurements.
struct AddingModel {
  std::vector<TuneUnit> units;
  double budget;
  size_t measurements = 0;
  TuneSearch search() {
    return {units, [this](const Choice& choice) {
              ++measurements;
              const double margin = budget - harm(units, choice);
              return Verdict{margin >= 0, margin};
            }};
  }
};

// One layer of 4 channels and 8 inner ones: 128 multiplications a token, 4 more a label.
format::ModelConfig small_layer(uint32_t labels, uint32_t layers) {
  format::ModelConfig config{};
  config.hidden_size = 4;
  config.intermediate_size = 8;
  config.layer_count = layers;
  config.label_count = labels;
  return config;
}

TEST(ClassifierShare, OfTheMultiplicationsByWeights) {
  EXPECT_EQ(classifier_share(small_layer(32, 1)), 0.5);
  EXPECT_EQ(classifier_share(small_layer(32, 3)), 0.25);
}

TEST(WorthSearching, FromA400thOfTheWorkOn) {
  EXPECT_TRUE(worth_searching(1.0 / 400));
  EXPECT_FALSE(worth_searching(std::nextafter(1.0 / 400, 0)));
  // Eight labels are 32 multiplications: 32 / (32 + 128 n) is a 397th with 99 layers, a 401st with 100.
  EXPECT_TRUE(worth_searching(classifier_share(small_layer(8, 99))));
  EXPECT_FALSE(worth_searching(classifier_share(small_layer(8, 100))));
  // The bundled model's classifier: 9 labels beside 6 layers.
  EXPECT_FALSE(worth_searching(9 * 384.0 / (6 * (4 * 384 * 384 + 2 * 384 * 1536))));
}

TEST(RollbackOrder, MostHarmPerSecondFirstAndHullsOnly) {
  // Dynamic removes 9 of 10 in a second; weight-only is slower than float and more harmful: never chosen.
  const std::vector<TuneUnit> units = {unit("a", 1, 0.5, 0.1), unit("b", 10, 1, 0.5), unit("c", 0.1, 0.1, 0.1)};
  const std::vector<TuneMove> order = rollback_order(units);
  ASSERT_EQ(order.size(), 5U);
  EXPECT_EQ(order[0].unit, 1U);  // b to dynamic: 9 a second
  EXPECT_EQ(order[0].to, 1U);
  EXPECT_EQ(order[1].unit, 0U);  // a to dynamic: 0.5
  EXPECT_EQ(order[2].unit, 1U);  // b to float: 1 / 4
  EXPECT_EQ(order[2].from, 1U);
  EXPECT_EQ(order[2].to, 3U);
  EXPECT_EQ(order[4].unit, 2U);  // c straight to float: dynamic removes nothing
  EXPECT_EQ(order[4].from, 0U);
}

TEST(RollbackOrder, WhatCostsNoTimeComesFirst) {
  std::vector<TuneUnit> units = {unit("a", 100, 1, 0.5), unit("b", 0.2, 0.1, 0.05)};
  units[1].options[1].seconds = -0.5;  // dynamic is faster here
  const std::vector<TuneMove> order = rollback_order(units);
  EXPECT_EQ(order[0].unit, 1U);
  EXPECT_EQ(order[0].to, 1U);
  EXPECT_EQ(order[1].unit, 0U);
}

TEST(TuneSearch, NothingToDo) {
  AddingModel model{{unit("a", 1, 0.5, 0.1), unit("b", 2, 1, 0.1)}, 3};
  TuneSearch search = model.search();
  EXPECT_TRUE(search.run(10));
  EXPECT_EQ(search.choice(), (Choice{0, 0}));
  EXPECT_EQ(model.measurements, 1U);
  EXPECT_TRUE(search.rollbacks().empty());
}

TEST(TuneSearch, OneBadProductIsFoundAndNothingElseTouched) {
  std::vector<TuneUnit> units;
  for (int i = 0; i < 30; ++i) units.push_back(unit(std::to_string(i), 0.01, 0.005, 0.001));
  units[17] = unit("17", 50, 40, 0.01);  // dynamic is no help: float is
  AddingModel model{units, 0.35};
  TuneSearch search = model.search();
  EXPECT_TRUE(search.run(30));
  Choice expected(30, 0);
  expected[17] = 3;
  EXPECT_EQ(search.choice(), expected);
  EXPECT_LE(model.measurements, 12U);
  ASSERT_EQ(search.rollbacks().size(), 1U);
  EXPECT_EQ(search.rollbacks()[0].unit, 17U);
}

TEST(TuneSearch, NoUnitOfTheResultCouldBeFaster) {
  uint32_t state = 7;
  const auto random = [&state] {
    state = state * 1664525u + 1013904223u;
    return static_cast<double>(state >> 8) / 16777216.0;
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<TuneUnit> units;
    double total = 0;
    for (int i = 0; i < 12; ++i) {
      const double h = random() * random() * random();
      total += h;
      units.push_back(unit(std::to_string(i), h, h * 0.4, h * 0.01));
    }
    AddingModel model{units, total * random()};
    TuneSearch search = model.search();
    ASSERT_TRUE(search.run(1000));
    const Choice& choice = search.choice();
    EXPECT_LE(harm(units, choice), model.budget);
    for (size_t i = 0; i < units.size(); ++i) {
      for (size_t option = 0; option < 4; ++option) {
        Choice other = choice;
        other[i] = option;
        if (seconds(units, other) < seconds(units, choice)) {
          EXPECT_GT(harm(units, other), model.budget);
        }
      }
    }
  }
}

TEST(TuneSearch, OneSchemeForAllIsTakenWhereItIsFaster) {
  // Alone, every product is as bad in dynamic as in static, so that rolling back goes to floats; together they are not.
  const std::vector<TuneUnit> units = {unit("a", 1, 1, 1), unit("b", 1, 1, 1), unit("c", 1, 1, 1)};
  TuneSearch search(units, [](const Choice& choice) {
    const bool holds = choice == Choice{1, 1, 1} || choice == Choice{3, 3, 3};
    return Verdict{holds, holds ? 0.0 : -1.0};
  });
  EXPECT_TRUE(search.run(10));
  EXPECT_EQ(search.choice(), (Choice{1, 1, 1}));
  const std::vector<TuneMove> rollbacks = search.rollbacks();
  ASSERT_EQ(rollbacks.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rollbacks[i].unit, i);
    EXPECT_EQ(rollbacks[i].to, 1U);
  }
}

TEST(TuneSearch, ABudgetThatCannotBeMetNamesTheBest) {
  AddingModel model{{unit("a", 1, 0.5, 0.1), unit("b", 2, 1, 0.1)}, -0.5};  // the words' table alone is too much, say
  TuneSearch search = model.search();
  EXPECT_FALSE(search.run(10));
  EXPECT_FALSE(search.verdict().holds);
  EXPECT_EQ(search.choice(), (Choice{3, 3}));
  EXPECT_DOUBLE_EQ(search.verdict().margin, -0.5);
}

TEST(TuneSearch, FurtherThanTheBudgetAsksForUntilNothingIsLeft) {
  AddingModel model{{unit("a", 1, 0.5, 0.1), unit("b", 2, 1, 0.1)}, 3};
  TuneSearch search = model.search();
  ASSERT_TRUE(search.run(10));
  double last = harm(model.units, search.choice());
  size_t steps = 0;
  for (; search.roll_back_further(); ++steps) {
    EXPECT_LT(harm(model.units, search.choice()), last);
    last = harm(model.units, search.choice());
  }
  EXPECT_EQ(steps, 4U);
  EXPECT_EQ(last, 0);
  search.choose({0, 3});
  EXPECT_EQ(search.choice(), (Choice{0, 3}));
  EXPECT_EQ(search.rollbacks().size(), 1U);
}

TEST(RollbackReason, WhatCostsTimeIsForAccuracy) {
  TuneUnit product = unit("a", 1, 0.5, 0.1);
  EXPECT_EQ(rollback_reason(product, 1), RollbackReason::kAccuracy);
  EXPECT_EQ(rollback_reason(product, 3), RollbackReason::kAccuracy);
  product.options[1].seconds = 0;
  EXPECT_EQ(rollback_reason(product, 1), RollbackReason::kSpeed);
  product.options[1].seconds = -0.5;
  EXPECT_EQ(rollback_reason(product, 1), RollbackReason::kSpeed);
  EXPECT_EQ(rollback_reason(product, 2), RollbackReason::kAccuracy);
}

TEST(RollbackReason, OfASearchThatHasBoth) {
  std::vector<TuneUnit> units = {unit("slow", 10, 1, 0.1), unit("fast", 1, 0.5, 0.1), unit("left", 0.5, 0.4, 0.1)};
  units[1].options[1].seconds = -0.5;  // dynamic is faster than static
  AddingModel model{units, 3};
  TuneSearch search = model.search();
  ASSERT_TRUE(search.run(10));
  const std::vector<TuneMove> rollbacks = search.rollbacks();
  ASSERT_EQ(rollbacks.size(), 2U);
  std::map<std::string, RollbackReason> reasons;
  for (const TuneMove& move : rollbacks) reasons[units[move.unit].name] = rollback_reason(units[move.unit], move.to);
  EXPECT_EQ(reasons.at("slow"), RollbackReason::kAccuracy);
  EXPECT_EQ(reasons.at("fast"), RollbackReason::kSpeed);
}

TEST(TuneSearch, AtMostSoManyTrials) {
  std::vector<TuneUnit> units;
  for (int i = 0; i < 40; ++i) units.push_back(unit(std::to_string(i), 1, 1, 1));
  AddingModel model{units, 1.5};
  TuneSearch search = model.search();
  EXPECT_TRUE(search.run(3));
  EXPECT_LE(model.measurements, 1 + 6 + 6 + 3U);
}

}  // namespace
}  // namespace octobert::converter
