"""What the machine says about itself: processor, who else is working on it, and a process's memory."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def cpu_model() -> str:
    """Family, model and stepping: a virtual machine's name is often no more than the vendor's."""
    wanted = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            found.setdefault(wanted[key.strip()], value.strip())
    return ", ".join(f"{key} {value}" for key, value in found.items())


def cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def describe() -> dict[str, Any]:
    interesting = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
    flags = cpu_flags()
    return {
        "cpu": cpu_name(),
        "cpu_model": cpu_model(),
        "cores": sorted(os.sched_getaffinity(0)),
        "instruction_sets": [flag for flag in interesting if flag in flags],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "hypervisor": "hypervisor" in flags,
    }


def cores_for(threads: int) -> list[int]:
    """The first cores of those that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise ValueError(f"{threads} threads asked for, this process may use {len(allowed)} cores")
    return allowed[:threads]


def _process_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


class Bystanders:
    """Cores that something else kept busy, or that the hypervisor took away, between construction and `cores()`."""

    def __init__(self, own: list[int]) -> None:
        self.own = [*own, os.getpid()]
        self.start, self.used = time.monotonic(), self._used()

    def _used(self) -> float:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        everyone = (user + nice + system + irq + softirq + steal) / TICKS
        return everyone - sum(_process_seconds(pid) for pid in self.own)

    def cores(self) -> float:
        elapsed = max(time.monotonic() - self.start, 1 / TICKS)
        return max(0.0, (self._used() - self.used) / elapsed)


def mapped_mb(pid: int, file: Path) -> dict[str, float]:
    """How much of a file a process has mapped and touched, and how much of that in pages of 2 MB, in MB of 10^6 bytes;
    empty where it has not mapped it, or has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return {}
    wanted, inside = {"Rss:": "resident", "FilePmdMapped:": "large"}, False
    kilobytes: dict[str, int] = {}
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):  # a mapping begins: addresses, access, offset, device, inode, path
            inside = len(words) == 6 and words[5] == str(file)
        elif inside and words[0] in wanted:
            key = wanted[words[0]]
            kilobytes[key] = kilobytes.get(key, 0) + int(words[1])
    return {key: round(value * 1024 / 1e6, 1) for key, value in kilobytes.items()}


def memory_mb(pid: int | str = "self") -> dict[str, float]:
    """Resident memory now, its anonymous part, and the peak, in MB of 10^6 bytes."""
    names = {"VmRSS": "resident", "RssAnon": "anonymous", "VmHWM": "peak"}
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in names:
            found[names[key]] = int(value.split()[0]) * 1024 / 1e6
    return found
