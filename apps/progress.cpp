#include "apps/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace octobert::apps {
namespace {

constexpr auto kRedrawInterval = std::chrono::milliseconds(50);
constexpr size_t kBarWidth = 24;

bool draws_in_place() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

// A bar that cannot be written is no reason to stop.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(draws_in_place()) {}

Progress::~Progress() {
  if (terminal_ && !quiet_ && !stage_.empty()) print("\r\x1b[K");
}

void Progress::update(std::string_view stage, std::string_view item, size_t done, size_t total) {
  if (quiet_) return;
  const bool begins = stage != stage_;
  const bool ends = done >= total;
  if (begins) {
    stage_ = stage;
    stage_ended_ = false;
  }
  if (terminal_) {
    const auto now = std::chrono::steady_clock::now();
    if (!begins && !ends && now - drawn_ < kRedrawInterval) return;
    drawn_ = now;
    draw(item, done, total);
  } else {
    if (begins) print(fmt::format("{}: 0 of {}\n", stage_, total));
    if (ends && !stage_ended_) print(fmt::format("{}: {} of {}\n", stage_, done, total));
    stage_ended_ = stage_ended_ || ends;
  }
}

void Progress::draw(std::string_view item, size_t done, size_t total) const {
  const size_t filled = total == 0 ? kBarWidth : std::min(kBarWidth, kBarWidth * done / total);
  std::string bar;
  for (size_t i = 0; i < kBarWidth; ++i) bar += i < filled ? "█" : "░";
  print(fmt::format("\r\x1b[K{:<9} {} {:>3} %  {}", stage_, bar, total == 0 ? 100 : std::min(done, total) * 100 / total,
                    item));
}

}  // namespace octobert::apps
