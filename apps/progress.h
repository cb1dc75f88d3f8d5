// A progress bar: drawn in place on a terminal, plain lines elsewhere. On standard error.
#ifndef OCTOBERT_APPS_PROGRESS_H_
#define OCTOBERT_APPS_PROGRESS_H_

#include <chrono>
#include <cstddef>
#include <string_view>

namespace octobert::apps {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();  // clears the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` steps are finished; `stage` says what is done to `item` now. On a terminal drawn at most 20 times
  // a second; elsewhere at most 20 lines for all the steps.
  void update(std::string_view stage, std::string_view item, size_t done, size_t total);

 private:
  void draw(std::string_view stage, std::string_view item, size_t done, size_t total);
  void print_line(std::string_view item, size_t done, size_t total);

  bool quiet_, terminal_;
  bool drawn_ = false;
  size_t last_line_ = 0;  // in twentieths of the total
  std::chrono::steady_clock::time_point drawn_at_{};
};

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_PROGRESS_H_
