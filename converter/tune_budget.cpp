#include "converter/tune_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "octobert/error.h"

namespace octobert::converter {

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

BudgetMeasure budget_measure(const TuneOptions& options) {
  if (options.min_agreement && options.max_f1_loss) return {"margin within the nearer budget", 0};
  if (options.min_agreement) return {"agreement", *options.min_agreement};
  return {"F1 lost, negative", -*options.max_f1_loss};
}

}  // namespace octobert::converter
