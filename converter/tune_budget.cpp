#include "converter/tune_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

// "3 of 1050 words with another label (agreement 99.7143 %, asked for 100 %)", and the same of F1.
std::string cost_of(const TuneOptions& options, const Comparison& comparison) {
  std::string text;
  if (options.min_agreement) {
    text += fmt::format("{} of {} words with another label (agreement {:.4f} %, asked for {:g} %)",
                        comparison.words - comparison.same_label, comparison.words, 100 * comparison.agreement(),
                        100 * *options.min_agreement);
  }
  if (options.max_f1_loss) {
    text += fmt::format("{}{:.3f} points of F1 lost (asked for {:g} at most)", text.empty() ? "" : ", ",
                        100 * comparison.f1_loss(), 100 * *options.max_f1_loss);
  }
  return text;
}

}  // namespace

void check_budget(const TuneOptions& options) {
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::kInvalidInput, what); };
  const auto fraction = [](double x) { return x >= 0 && x <= 1; };
  if (options.texts.empty() && options.conll.empty()) fail("tune: no texts");
  if (!options.min_agreement && !options.max_f1_loss) fail("tune: no budget");
  if (options.min_agreement && !fraction(*options.min_agreement)) {
    fail(fmt::format("min_agreement is {}, expected a fraction from 0 to 1", *options.min_agreement));
  }
  if (options.max_f1_loss && !fraction(*options.max_f1_loss)) {
    fail(fmt::format("max_f1_loss is {}, expected a fraction from 0 to 1", *options.max_f1_loss));
  }
  if (options.max_f1_loss && options.conll.empty()) fail("a budget of F1 needs texts with labels");
}

void require_entities_found(const TuneOptions& options, const EntityScores& reference) {
  if (!options.max_f1_loss || reference.all.correct > 0) return;
  throw Error(ErrorCode::kInvalidInput,
              "a budget of F1: the float model finds none of the entities that the texts' labels have");
}

Verdict judge(const TuneOptions& options, const Comparison& comparison) {
  double margin = std::numeric_limits<double>::infinity();
  if (options.min_agreement) margin = comparison.agreement() - *options.min_agreement;
  if (options.max_f1_loss) margin = std::min(margin, *options.max_f1_loss - comparison.f1_loss());
  return {margin >= 0, margin};
}

std::string what_remains(const TuneOptions& options, const Comparison& tuned, const Comparison& held_out) {
  if (judge(options, tuned).holds && judge(options, held_out).holds) return "";
  return fmt::format(
      "With every product in floats it is not met either: on the texts that are tuned on: {}; on those held out: {}. "
      "What is left then are the word embeddings, int8 in every scheme but float: this is what they alone cost. "
      "convert --scheme float keeps them in floats",
      cost_of(options, tuned), cost_of(options, held_out));
}

BudgetMeasure budget_measure(const TuneOptions& options) {
  if (options.min_agreement && options.max_f1_loss) return {"margin within the nearer budget, points", 0};
  if (options.min_agreement) return {"agreement, %", *options.min_agreement};
  return {"F1 lost, negative, points", -*options.max_f1_loss};
}

}  // namespace octobert::converter
