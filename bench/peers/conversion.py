"""`octobert convert` to `dynamic`, warm: seconds and peak memory, as a user calls it (checked against the float model)
and the conversion alone. Run in a process of its own, and a small one: what a process held before it became
`octobert` counts in that one's peak.

    python -m peers.conversion ROUNDS OCTOBERT CHECKPOINT DIRECTORY

DIRECTORY takes the packed file for a while. Prints a JSON object.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {"without_check": ["--no-check"], "with_check": []}


def largest_tensor_mb(checkpoint: Path) -> float:
    """As the header of the checkpoint's safetensors file has it: its length in 8 bytes, then JSON."""
    with open(checkpoint / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return max(end - begin for begin, end in spans) / 1e6


def convert(octobert: str, checkpoint: str, out: Path, options: list[str]) -> tuple[float, float]:
    """Seconds, and MB at the peak."""
    command = [octobert, "convert", checkpoint, "-o", str(out), "--scheme", "dynamic", "--quiet", *options]
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # ours is for the figures
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"octobert convert ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def measure(rounds: int, octobert: str, checkpoint: Path, directory: Path) -> dict:
    """In turns. The first turn of each way, which may read the checkpoint from the disk, is not counted."""
    trials: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        out = Path(folder) / "model.octo"
        for _ in range(rounds + 1):
            for way, options in WAYS.items():
                trials[way].append(convert(octobert, str(checkpoint), out, options))
        row: dict = {"largest_tensor_mb": largest_tensor_mb(checkpoint), "output_mb": out.stat().st_size / 1e6}
    for way, counted in trials.items():
        seconds, peaks = zip(*counted[1:])
        spread = {"low_s": min(seconds), "high_s": max(seconds)}
        row[way] = {"s": statistics.median(seconds), **spread, "peak_mb": max(peaks)}
    return row


def main() -> None:
    rounds, octobert, checkpoint, directory = sys.argv[1:]
    print(json.dumps(measure(int(rounds), octobert, Path(checkpoint), Path(directory))))


if __name__ == "__main__":
    main()
