#include "engine/usable_cores.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>

#include "octobert/thread_pool.h"

namespace octobert {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

// Empty if the file can't be read. Files of /proc and /sys have no size: read until the end, but no more than any
// real one holds.
std::string read_file(const std::string& path) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  std::string text;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return text;
  char buffer[4096];
  ssize_t count;
  while (text.size() < kMaxBytes && (count = read(file, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(count));
  }
  close(file);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// The integer that text starts with; nothing after it is looked at.
std::optional<int64_t> leading_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

bool lists(std::string_view comma_separated, std::string_view item) {
  const std::vector<std::string_view> items = split(comma_separated, ',');
  return std::find(items.begin(), items.end(), item) != items.end();
}

// ---- physical cores ----

// SMT siblings share a list ("0,64", "2-3"); its first CPU stands for the core.
int core_of(const std::string& root, int cpu) {
  const std::string topology = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
  for (const char* name : {"core_cpus_list", "thread_siblings_list"}) {  // the second is the name before Linux 5.3
    if (const auto first = leading_integer(read_file(topology + name))) return static_cast<int>(*first);
  }
  return cpu;
}

// ---- cgroup quota ----

struct CgroupMount {
  std::string root;   // which cgroup of the hierarchy is mounted ("/docker/abc" in a container without a namespace)
  std::string point;  // where
};

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      plain.push_back(static_cast<char>(code));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// proc(5), /proc/pid/mountinfo: "31 23 0:28 ROOT POINT options [optional fields] - TYPE source SUPEROPTIONS".
// The mount of version 2, or version 1's with the cpu controller.
std::optional<CgroupMount> find_mount(std::string_view mountinfo, bool version2) {
  for (const std::string_view line : split(mountinfo, '\n')) {
    const size_t separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    const std::vector<std::string_view> left = split(line.substr(0, separator), ' ');
    const std::vector<std::string_view> right = split(line.substr(separator + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool wanted = version2 ? right[0] == "cgroup2" : right[0] == "cgroup" && lists(right[2], "cpu");
    if (wanted) return CgroupMount{unescape(left[3]), unescape(left[4])};
  }
  return std::nullopt;
}

// /proc/self/cgroup: "0::PATH" for version 2, "N:controllers:PATH" for version 1.
std::optional<std::string> find_path(std::string_view cgroups, bool version2) {
  for (const std::string_view line : split(cgroups, '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool wanted = version2 ? line.substr(0, first) == "0" && controllers.empty() : lists(controllers, "cpu");
    if (wanted) return std::string(line.substr(second + 1));
  }
  return std::nullopt;
}

// CPUs' worth of time that one cgroup's directory grants.
double quota_of(const std::string& directory, bool version2) {
  std::optional<int64_t> quota, period;
  if (version2) {
    const std::string line = read_file(directory + "/cpu.max");  // "max 100000" or "150000 100000"
    const size_t space = line.find(' ');
    if (space == std::string::npos) return kUnlimited;
    quota = leading_integer(line);
    period = leading_integer(std::string_view(line).substr(space + 1));
  } else {
    quota = leading_integer(read_file(directory + "/cpu.cfs_quota_us"));  // -1: none
    period = leading_integer(read_file(directory + "/cpu.cfs_period_us"));
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return kUnlimited;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

// The smallest quota on the way from the process's own cgroup up to the top of what is mounted.
double quota_of_hierarchy(const std::string& root, bool version2) {
  const std::optional<CgroupMount> mount = find_mount(read_file(root + "/proc/self/mountinfo"), version2);
  const std::optional<std::string> path = find_path(read_file(root + "/proc/self/cgroup"), version2);
  if (!mount || !path) return kUnlimited;
  std::string below = *path;
  if (mount->root != "/") {
    // A path outside of what is mounted (another namespace's view): only the mount's own top is known to hold for us.
    const bool inside = below == mount->root || below.starts_with(mount->root + "/");
    below = inside ? below.substr(mount->root.size()) : "";
  }
  if (below.find("/..") != std::string::npos) below.clear();  // a process outside of its cgroup namespace's root
  while (!below.empty() && below.back() == '/') below.pop_back();

  const std::string top = root + mount->point;
  double quota = kUnlimited;
  while (true) {
    quota = std::min(quota, quota_of(std::string(top).append(below), version2));
    if (below.empty()) return quota;
    const size_t slash = below.rfind('/');
    below.resize(slash == std::string::npos ? 0 : slash);
  }
}

}  // namespace

std::vector<int> affinity_cpus() {
  // The kernel refuses masks shorter than its own; 2^16 CPUs are far beyond any build of it.
  for (int capacity = 1024; capacity <= 65536; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(capacity));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    std::vector<int> cpus;
    if (sched_getaffinity(0, bytes, set) == 0) {
      for (int cpu = 0; cpu < capacity; ++cpu) {
        if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) cpus.push_back(cpu);
      }
    }
    CPU_FREE(set);
    if (!cpus.empty()) return cpus;
  }
  std::vector<int> online(static_cast<size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))));
  std::iota(online.begin(), online.end(), 0);
  return online;
}

int usable_cores_of(const std::string& root, const std::vector<int>& cpus) {
  std::set<int> cores;
  for (const int cpu : cpus) cores.insert(core_of(root, cpu));
  const double quota = std::min(quota_of_hierarchy(root, true), quota_of_hierarchy(root, false));
  const double usable = std::min(static_cast<double>(cores.size()), std::ceil(quota));
  return std::max(1, static_cast<int>(usable));
}

int usable_cores() { return usable_cores_of("", affinity_cpus()); }

}  // namespace octobert
