// usable_cores on made-up systems: trees of /proc and /sys files in a temporary directory.
#include "engine/usable_cores.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "octobert/thread_pool.h"

namespace octobert {
namespace {

std::vector<int> range(int count) {
  std::vector<int> cpus(static_cast<size_t>(count));
  std::iota(cpus.begin(), cpus.end(), 0);
  return cpus;
}

class FakeSystem : public testing::Test {
 protected:
  FakeSystem() : root_(std::filesystem::path(testing::TempDir()) / ("usable_cores." + std::to_string(getpid()))) {
    std::filesystem::create_directories(root_);
  }
  ~FakeSystem() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file(root_.string() + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void siblings(int cpu, const std::string& list, const std::string& name = "core_cpus_list") {
    write("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + name, list + "\n");
  }
  // A version 2 system whose process sits in `cgroup`.
  void version2(const std::string& cgroup, const std::string& mount_root = "/") {
    write("/proc/self/cgroup", "0::" + cgroup + "\n");
    write("/proc/self/mountinfo",
          "23 1 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n"
          "30 23 0:26 " +
              mount_root + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void version1(const std::string& cgroup, const std::string& mount_root = "/") {
    write("/proc/self/cgroup", "12:cpuset:/elsewhere\n4:cpu,cpuacct:" + cgroup + "\n1:name=systemd:/x\n0::/unified\n");
    write("/proc/self/mountinfo",
          "33 23 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
          "34 23 0:30 " +
              mount_root +
              " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "41 23 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }
  void quota1(const std::string& directory, const std::string& quota, const std::string& period = "100000") {
    write("/sys/fs/cgroup/cpu,cpuacct" + directory + "/cpu.cfs_quota_us", quota + "\n");
    write("/sys/fs/cgroup/cpu,cpuacct" + directory + "/cpu.cfs_period_us", period + "\n");
  }
  int usable(int cpus) { return usable_cores_of(root_.string(), range(cpus)); }

  std::filesystem::path root_;
};

TEST_F(FakeSystem, NothingReadableLimitsNothing) {
  EXPECT_EQ(usable(8), 8);
  EXPECT_EQ(usable(1), 1);
  EXPECT_EQ(usable(0), 1);
}

TEST_F(FakeSystem, SmtSiblingsCountOnce) {
  for (int cpu = 0; cpu < 8; ++cpu) siblings(cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
  EXPECT_EQ(usable(8), 4);
  EXPECT_EQ(usable(4), 4);
  EXPECT_EQ(usable_cores_of(root_.string(), {0, 4}), 1);
  EXPECT_EQ(usable_cores_of(root_.string(), {4}), 1);  // only the second thread of a core is ours
  EXPECT_EQ(usable_cores_of(root_.string(), {3, 4, 5}), 3);
}

TEST_F(FakeSystem, SiblingsAsARangeAndUnderTheOldName) {
  for (int cpu = 0; cpu < 8; ++cpu) {
    siblings(cpu, std::to_string(cpu / 2 * 2) + "-" + std::to_string(cpu / 2 * 2 + 1), "thread_siblings_list");
  }
  EXPECT_EQ(usable(8), 4);
  EXPECT_EQ(usable(3), 2);
}

TEST_F(FakeSystem, HybridCpuCountsBothKindsOfCores) {
  for (int cpu = 0; cpu < 4; ++cpu) siblings(cpu, cpu < 2 ? "0-1" : "2-3");  // two fast cores with SMT
  for (int cpu = 4; cpu < 8; ++cpu) siblings(cpu, std::to_string(cpu));      // four without
  EXPECT_EQ(usable(8), 6);
}

TEST_F(FakeSystem, Version2Quota) {
  version2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
  EXPECT_EQ(usable(8), 2);
  EXPECT_EQ(usable(1), 1);
  write("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
  EXPECT_EQ(usable(8), 8);
}

TEST_F(FakeSystem, QuotaIsRoundedUpAndNeverZero) {
  version2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "250000 100000\n");
  EXPECT_EQ(usable(8), 3);
  write("/sys/fs/cgroup/app/cpu.max", "5000 100000\n");
  EXPECT_EQ(usable(8), 1);
}

TEST_F(FakeSystem, Version2ParentsLimitTheirChildren) {
  version2("/pods/pod7/app");
  write("/sys/fs/cgroup/pods/pod7/app/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/pods/pod7/cpu.max", "300000 100000\n");
  write("/sys/fs/cgroup/pods/cpu.max", "600000 100000\n");
  EXPECT_EQ(usable(8), 3);
  write("/sys/fs/cgroup/pods/pod7/app/cpu.max", "100000 50000\n");
  EXPECT_EQ(usable(8), 2);
  write("/sys/fs/cgroup/pods/cpu.max", "100000 100000\n");
  EXPECT_EQ(usable(8), 1);
}

TEST_F(FakeSystem, Version2InsideANamespaceReadsItsTop) {
  version2("/");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(usable(8), 4);
}

TEST_F(FakeSystem, ContainerWithoutANamespaceMountsItsOwnCgroup) {
  version2("/docker/abc/worker", "/docker/abc");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  write("/sys/fs/cgroup/worker/cpu.max", "200000 100000\n");
  EXPECT_EQ(usable(8), 2);
  // "/docker/abcd" is not below "/docker/abc".
  version2("/docker/abcd/worker", "/docker/abc");
  EXPECT_EQ(usable(8), 4);
}

TEST_F(FakeSystem, PathsThatLeaveTheNamespaceReadItsTop) {
  version2("/../../outside");
  write("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  write("/outside/cpu.max", "100000 100000\n");
  write("/sys/outside/cpu.max", "100000 100000\n");
  EXPECT_EQ(usable(8), 3);
}

TEST_F(FakeSystem, Version1Quota) {
  version1("/app");
  quota1("/app", "150000");
  EXPECT_EQ(usable(8), 2);
  quota1("/app", "-1");
  EXPECT_EQ(usable(8), 8);
}

TEST_F(FakeSystem, Version1ParentsAndContainers) {
  version1("/kube/pod/app");
  quota1("/kube/pod/app", "-1");
  quota1("/kube/pod", "500000");
  quota1("/kube", "600000", "200000");
  EXPECT_EQ(usable(8), 3);
  version1("/docker/abc", "/docker/abc");
  quota1("", "100000");
  EXPECT_EQ(usable(8), 1);
}

TEST_F(FakeSystem, MountPointsWithSpacesAreUnescaped) {
  write("/proc/self/cgroup", "0::/app\n");
  write("/proc/self/mountinfo", "30 23 0:26 / /mnt/c\\040group rw - cgroup2 cgroup2 rw\n");
  write("/mnt/c group/app/cpu.max", "100000 100000\n");
  EXPECT_EQ(usable(8), 1);
}

TEST_F(FakeSystem, NonsenseLimitsNothing) {
  for (const char* line :
       {"", "max", "0 100000", "-5 100000", "100000 0", "100000", "apples pears", "99999999999999999999 1"}) {
    version2("/app");
    write("/sys/fs/cgroup/app/cpu.max", line);
    EXPECT_EQ(usable(8), 8) << line;
  }
  write("/proc/self/cgroup", "::\n0\n:\n\n0:");
  write("/proc/self/mountinfo", "a b c - \n - cgroup2\n1 2 3 / /x rw - cgroup2\n");
  EXPECT_EQ(usable(8), 8);
  siblings(0, "no number");
  EXPECT_EQ(usable(8), 8);
}

TEST(UsableCores, FollowsThisThreadsAffinity) {
  const std::vector<int> all = affinity_cpus();
  ASSERT_FALSE(all.empty());
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(all.size()));
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(all.back()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(affinity_cpus(), std::vector<int>{all.back()});
    EXPECT_EQ(usable_cores(), 1);
  }).join();
}

}  // namespace
}  // namespace octobert
