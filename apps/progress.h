// A progress bar: drawn in place on a terminal, plain lines elsewhere. On standard error.
#ifndef OCTOBERT_APPS_PROGRESS_H_
#define OCTOBERT_APPS_PROGRESS_H_

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace octobert::apps {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();  // clears the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` steps of `stage` are finished; `item` is what is being worked on. On a terminal drawn at most
  // 20 times a second; elsewhere a line when a stage begins and one when it ends.
  void update(std::string_view stage, std::string_view item, size_t done, size_t total);

 private:
  void draw(std::string_view item, size_t done, size_t total) const;

  bool quiet_, terminal_;
  std::string stage_;
  bool stage_ended_ = false;
  std::chrono::steady_clock::time_point drawn_{};
};

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_PROGRESS_H_
