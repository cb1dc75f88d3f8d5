"""The ceilings of this processor, as peers_peak_probe finds them."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

from . import machine
from .models import Model

SECONDS = 0.3
QUICK_SECONDS = 0.1
# Ways of an 8-bit product, and which of them octobert's kernels use, by instruction set.
VNNI = ("vpdpbusd_512", "vpdpbusd_256", "vpdpbusd_vex")
EXACT_AVX2 = ("split_maddubs_256", "xor_maddubs_256", "sign_maddubs_256", "madd_256")


def stream_mb(model: Model) -> int:
    """The size of the int8 weights that a call streams."""
    return max(1, math.ceil(model.encoder_weights / 1e6))


class Ceilings:
    """The best trial of each case, by number of threads: what else runs only ever lowers a ceiling. Asked for again
    and again during a run, so that clock and neighbours are those of the run."""

    def __init__(self, build: Path, quick: bool, best: dict[str, dict[str, dict]]) -> None:
        """best: by number of threads (a JSON key); grows as measure() finds more."""
        self.program = build / "bin" / "peers_peak_probe"
        self.seconds = QUICK_SECONDS if quick else SECONDS
        self.best = best
        self.error = ""

    def measure(self, threads: int, model: Model) -> None:
        cores = ",".join(map(str, machine.cores_for(threads)))
        command = [str(self.program), cores, "--seconds", str(self.seconds), "--stream-mb", str(stream_mb(model))]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.error = str(error)
            return
        found = self.best.setdefault(str(threads), {})
        for case in map(json.loads, done.stdout.splitlines()):
            known = found.get(case["name"])
            if known is None or case["high"] > known["value"]:
                found[case["name"]] = {"value": case["high"], "unit": case["unit"]}
