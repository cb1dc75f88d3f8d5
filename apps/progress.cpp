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
constexpr size_t kMostLines = 20;

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
  if (drawn_) print("\r\x1b[K");
}

void Progress::update(std::string_view stage, std::string_view item, size_t done, size_t total) {
  if (quiet_ || total == 0) return;
  if (terminal_) {
    draw(stage, item, std::min(done, total), total);
  } else {
    print_line(item, std::min(done, total), total);
  }
}

void Progress::draw(std::string_view stage, std::string_view item, size_t done, size_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && done < total && now - drawn_at_ < kRedrawInterval) return;
  drawn_ = true;
  drawn_at_ = now;
  std::string bar;
  for (size_t i = 0; i < kBarWidth; ++i) bar += i < kBarWidth * done / total ? "█" : "░";
  print(fmt::format("\r\x1b[K{} {:>3} %  {} {}", bar, 100 * done / total, stage, item));
}

void Progress::print_line(std::string_view item, size_t done, size_t total) {
  const size_t line = kMostLines * done / total;
  if (line == last_line_) return;
  last_line_ = line;
  print(fmt::format("{} of {}{}{}\n", done, total, item.empty() ? "" : ": ", item));
}

}  // namespace octobert::apps
