// What may be lost: is it a budget, and does a choice stay within it?
#ifndef OCTOBERT_CONVERTER_TUNE_BUDGET_H_
#define OCTOBERT_CONVERTER_TUNE_BUDGET_H_

#include <string>

#include "converter/metrics.h"
#include "converter/tune.h"
#include "converter/tune_search.h"

namespace octobert::converter {

// Throws Error(kInvalidInput) if there is none, or no texts that it could be measured on.
void check_budget(const TuneOptions& options);

// For a budget of F1 the float model must find an entity, or nothing can be lost, whatever a choice gives. reference:
// its scores against the texts' labels. Throws Error(kInvalidInput).
void require_entities_found(const TuneOptions& options, const EntityScores& reference);

// Where there are two budgets both must hold; the margin is that of the one that is nearer to its end.
Verdict judge(const TuneOptions& options, const Comparison& comparison);

// What a verdict's margin is the distance to: a measure of which larger is better, and the least that is asked of it.
// Of two budgets no one measure tells: the margin itself, and 0.
struct BudgetMeasure {
  const char* name;  // with the unit of 100 times the measure
  double limit;      // a fraction of 1
};
BudgetMeasure budget_measure(const TuneOptions& options);

// For people, of a budget that no choice keeps: that not even every product in floats does, what is not in floats then,
// and what that alone costs. "" if the budget holds in both comparisons, which are of such a model with the float
// model.
std::string what_remains(const TuneOptions& options, const Comparison& tuned, const Comparison& held_out);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TUNE_BUDGET_H_
