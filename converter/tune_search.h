// Which product computes how, so that a budget of accuracy holds and the model is as fast as it can be: the search, on
// numbers alone. It knows nothing of models but their shape; tests give it models made of formulas.
#ifndef OCTOBERT_CONVERTER_TUNE_SEARCH_H_
#define OCTOBERT_CONVERTER_TUNE_SEARCH_H_

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/format.h"

namespace octobert::converter {

// One way to compute a product: what it costs and what it spoils.
struct TuneOption {
  format::Scheme scheme;
  double seconds;  // compared with the first option; may be negative
  double harm;     // with everything else in floats; 0 for the last option
};

// What is switched as one: a product, or attention's two.
struct TuneUnit {
  std::string name;
  std::vector<TuneOption> options;  // from the one that is tried first to the harmless one
};

// The share of a token's multiplications by weights that are the classifier's.
double classifier_share(const format::ModelConfig& config);

// Whether a product with this share of the work is worth a search. Below a 400th it stays in floats: in integers, four
// times as fast, it would save less than a hundredth of the time, which no clock tells from noise.
bool worth_searching(double share);

// Why a unit is in this option rather than in its first: it costs time, which the budget asked for (or one scheme for
// all, where that is faster as a whole than the mixture); or, as measured, it is no slower, so that there is nothing
// for the first one, whatever the budget.
enum class RollbackReason { kAccuracy, kSpeed };
RollbackReason rollback_reason(const TuneUnit& unit, size_t option);

using Choice = std::vector<size_t>;  // of each unit, the index of its option

// Choice `from` with one unit changed.
struct TuneMove {
  size_t unit, from, to;
};

struct Verdict {
  bool holds;     // the budget
  double margin;  // how far within it, or (negative) beyond; of those that don't hold the largest is the best
};

// The moves from all first options towards all last ones, those that remove the most harm per second first; moves that
// cost no time come before all others. An option of a unit that a cheaper mixture of its others beats in both is left
// out: per unit, the options on the lower convex hull of (seconds, harm). Equal worth: in the order of the units.
//
// Harms add up as well as rounding noises do, which are small and nearly independent: the order is good, what holds is
// measured.
std::vector<TuneMove> rollback_order(std::span<const TuneUnit> units);

class TuneSearch {
 public:
  using Measure = std::function<Verdict(const Choice&)>;
  // Every choice is measured at most once.
  TuneSearch(std::vector<TuneUnit> units, Measure measure);

  // The number of moves is doubled until the budget holds, then halved between the last two; from there each unit that
  // was rolled back is tried in faster options, the most seconds first, at most `max_trials` of them. One scheme for
  // all, where that is faster than what was found, is measured too: harms don't add up exactly. Returns whether the
  // budget holds for choice().
  bool run(size_t max_trials);
  // One more move that removes harm from choice(): false if there is none. For a budget that does not hold elsewhere.
  bool roll_back_further();
  // Goes back to one of its choices.
  void choose(Choice choice);

  const Choice& choice() const { return choice_; }  // the best that was found, in the budget or not
  const Verdict& verdict() const { return measured_.at(choice_); }
  const std::vector<TuneMove>& order() const { return order_; }
  // What choice() differs in from all first options, in the order of rollback, and the choices on the way that were
  // measured.
  std::vector<TuneMove> rollbacks() const;
  const std::map<Choice, Verdict>& measured() const { return measured_; }

 private:
  Choice after(size_t moves) const;
  const Verdict& measure(const Choice& choice);
  size_t fewest_moves();
  void trim(size_t max_trials);
  // Each unit's option of that scheme; its last one if it has none.
  Choice uniform(format::Scheme scheme) const;
  double seconds(const Choice& choice) const;

  std::vector<TuneUnit> units_;
  Measure measure_;
  std::vector<TuneMove> order_;
  Choice choice_;
  std::map<Choice, Verdict> measured_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TUNE_SEARCH_H_
