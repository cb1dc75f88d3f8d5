// How many physical cores this process may really use (usable_cores() of octobert/thread_pool.h, testable).
#ifndef OCTOBERT_ENGINE_USABLE_CORES_H_
#define OCTOBERT_ENGINE_USABLE_CORES_H_

#include <string>
#include <vector>

namespace octobert {

// CPUs of the calling thread's affinity mask, ascending; all that are online where the mask can't be read.
std::vector<int> affinity_cpus();

// The count for a process that may run on `cpus`, on the system whose /proc and /sys lie under `root` ("" is this
// one): min(physical cores among cpus, CPU quota of the process's cgroups rounded up), at least 1. Whatever can't be
// read limits nothing.
int usable_cores_of(const std::string& root, const std::vector<int>& cpus);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_USABLE_CORES_H_
