#!/usr/bin/env python3
"""Is head's octobert slower than base's? Called by compare.sh, which builds both.

Each round runs base, head and base again. head's time over the geometric mean of the two bases' around it is one
sample of the ratio; the two bases over each other are an A/A sample, which differs from 1 by noise alone. A shape fails
when its median ratio is above 1 + the limit + the noise. Standard library only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.03
FAILED = 1
ROUNDS, SECONDS = 15, 0.3
# Two standard errors: with a shape that has not changed, 1 run in 40 is beyond them on the slow side.
STANDARD_ERRORS = 2.0
MEDIAN_OVER_MEAN = 1.2533  # standard error of a median over that of a mean, normal samples: sqrt(pi / 2)
MAD_TO_SIGMA = 1.4826  # median absolute deviation of normal samples -> standard deviation


@dataclasses.dataclass(frozen=True)
class Comparison:
    """head over base: 1.05 is 5 % slower. All three are relative; low and high are the quartiles of the rounds."""

    ratio: float
    low: float
    high: float
    noise: float

    def slower(self, limit: float) -> bool:
        return self.ratio > 1 + limit + self.noise


def compare(rounds: list[tuple[float, float, float]]) -> Comparison:
    """rounds: times of (base, head, base again)."""
    if len(rounds) < 3:
        raise ValueError(f"at least 3 rounds are needed, found {len(rounds)}")
    ratios = [math.log(head / math.sqrt(first * second)) for first, head, second in rounds]
    doubles = [math.log(first / second) for first, _, second in rounds]
    # An A/A sample has the noise of two turns. A ratio has one of head's and half a one of base's: 1.5 turns.
    one_turn = MAD_TO_SIGMA * statistics.median(map(abs, doubles)) / math.sqrt(2)
    error = MEDIAN_OVER_MEAN * one_turn * math.sqrt(1.5 / len(rounds))
    quartiles = statistics.quantiles(ratios, n=4)
    return Comparison(
        ratio=math.exp(statistics.median(ratios)),
        low=math.exp(quartiles[0]),
        high=math.exp(quartiles[2]),
        noise=math.expm1(STANDARD_ERRORS * error),
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table. An empty isa is the best there is."""

    scheme: str
    shape: str
    threads: int
    isa: str

    def __str__(self) -> str:
        isa = self.isa or "best isa"
        return f"{self.scheme}, {self.shape}, {self.threads} thread{'s' if self.threads > 1 else ''}, {isa}"


class Side:
    """base or head: its command, and the models that its own converter made, since formats may differ."""

    def __init__(self, name: str, binary: Path, checkpoint: Path, work: Path) -> None:
        self.name, self.binary, self.checkpoint, self.work = name, binary, checkpoint, work
        self.models: dict[str, Path] = {}

    def call(self, *arguments: str, isa: str = "", prefix: tuple[str, ...] = (), stdin: str = "") -> str:
        """Standard output. Exits when the command fails."""
        environment = {**os.environ, **({"OCTOBERT_ISA": isa} if isa else {})}
        command = [*prefix, str(self.binary), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, input=stdin)
        if done.returncode != 0:
            what = f"{self.name}: octobert {' '.join(arguments)}"
            sys.exit(f"{what} ended with {done.returncode}:\n{done.stderr[-1000:]}")
        return done.stdout

    def model(self, scheme: str) -> str:
        if scheme not in self.models:
            path = self.work / f"{self.name}-{scheme}.octo"
            self.call("convert", str(self.checkpoint), "-o", str(path), "--scheme", scheme, "--quiet")
            self.models[scheme] = path
        return str(self.models[scheme])

    def time(self, case: Case, seconds: float) -> float:
        """Median milliseconds of one turn."""
        answer = self.call(
            *("bench", self.model(case.scheme), "--shapes", case.shape, "--threads", str(case.threads)),
            *("--seconds", str(seconds), "--json"),
            isa=case.isa,
        )
        return json.loads(answer.splitlines()[0])["median_ms"]

    def instructions(self, arguments: tuple[str, ...], isa: str, stdin: str) -> int:
        """Instructions that callgrind counts from start to end of one command."""
        with tempfile.TemporaryDirectory() as directory:
            files = (f"--callgrind-out-file={directory}/out", f"--log-file={directory}/log")
            tool = ("valgrind", "--tool=callgrind", *files)
            self.call(*arguments, isa=isa, prefix=tool, stdin=stdin)
            text = Path(f"{directory}/log").read_text()
        found = re.search(r"Collected\s*:\s*(\d+)", text)
        if not found:
            sys.exit(f"callgrind counted nothing:\n{text[-500:]}")
        return int(found.group(1))


def compare_times(base: Side, head: Side, cases: list[Case], arguments: argparse.Namespace) -> list[Case]:
    """Prints a line a case; returns those that are slower."""
    slow = []
    print(f"{'':44} {'base ms':>9} {'head ms':>9} {'head/base':>9}  {'middle half':>13} {'noise':>7}")
    for case in cases:
        rounds = []
        for _ in range(arguments.rounds):
            first, middle, last = (side.time(case, arguments.seconds) for side in (base, head, base))
            rounds.append((first, middle, last))
        result = compare(rounds)
        base_ms = statistics.median(time for first, _, second in rounds for time in (first, second))
        head_ms = statistics.median(time for _, time, _ in rounds)
        verdict = ""
        if result.slower(arguments.limit):
            slow.append(case)
            verdict = "  SLOWER"
        spread = f"{result.low:.3f}..{result.high:.3f}"
        figures = f"{base_ms:9.3f} {head_ms:9.3f} {result.ratio:9.3f}  {spread:>13} {100 * result.noise:6.1f}%"
        print(f"{case!s:44} {figures}{verdict}", flush=True)
    return slow


def sentences(count: int) -> str:
    """Real text, a sentence a line: the first of the evaluation set."""
    blocks = (ROOT / "data/ner/E1.tsv").read_text(encoding="utf-8").strip().split("\n\n")[:count]
    words = [[line.split("\t")[0] for line in block.splitlines()] for block in blocks]
    return "".join(" ".join(sentence) + "\n" for sentence in words)


def compare_instructions(base: Side, head: Side, arguments: argparse.Namespace) -> list[str]:
    """The tokenizer, and one call of the model for each instruction set that valgrind runs (no AVX-512)."""
    scheme = arguments.scheme[0]
    ids = json.dumps([101, *range(2000, 2062), 102]) + "\n"
    commands: list[tuple[str, tuple[str, ...], str, str]] = [
        ("tokenizer, 200 sentences", ("tokenize",), "", sentences(200))
    ]
    for isa in arguments.isa or ["scalar", "avx2"]:
        logits = ("logits", "--ids", "--threads", "1", "-o", str(arguments.work / "logits.safetensors"))
        commands.append((f"{scheme}, 1x64, {isa}", logits, isa, ids))
    slow = []
    print(f"{'instructions':44} {'base':>15} {'head':>15} {'head/base':>9}")
    for name, (command, *options), isa, stdin in commands:
        old, new = (side.instructions((command, side.model(scheme), *options), isa, stdin) for side in (base, head))
        verdict = ""
        if new > old * (1 + arguments.limit):
            slow.append(name)
            verdict = "  SLOWER"
        print(f"{name:44} {old:15,} {new:15,} {new / old:9.3f}{verdict}", flush=True)
    return slow


def parse() -> argparse.Namespace:
    def split(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(
        prog="bench/compare.sh BASE", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--base", type=Path, required=True, help=argparse.SUPPRESS)
    option("--head", type=Path, required=True, help=argparse.SUPPRESS)
    option("--work", type=Path, required=True, help=argparse.SUPPRESS)
    option("--shapes", type=split, default=["1x16", "1x128", "8x128"], help="default: 1x16,1x128,8x128")
    option("--threads", type=split, default=["1"], help="default: 1")
    option("--scheme", type=split, default=["dynamic"], help="default: dynamic")
    option("--isa", type=split, default=[], help="instruction sets; default: the best one")
    option("--checkpoint", type=Path, default=ROOT / "models/minilm-ner", help="default: the bundled model")
    option("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    option("--seconds", type=float, default=SECONDS, help=f"of a turn; default: {SECONDS}")
    option("--limit", type=float, default=LIMIT, help=f"share that head may be slower; default: {LIMIT}")
    option("--instructions", action="store_true", help="count instructions under callgrind (needs valgrind)")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    base, head = (
        Side(name, binary, arguments.checkpoint, arguments.work)
        for name, binary in (("base", arguments.base), ("head", arguments.head))
    )
    if arguments.instructions:
        slow: list = compare_instructions(base, head, arguments)
    else:
        cases = [
            Case(scheme, shape, int(threads), isa)
            for scheme in arguments.scheme
            for isa in arguments.isa or [""]
            for threads in arguments.threads
            for shape in arguments.shapes
        ]
        slow = compare_times(base, head, cases, arguments)
    if slow:
        print(f"slower than base by more than {100 * arguments.limit:g} %: {len(slow)}")
    return FAILED if slow else 0


if __name__ == "__main__":
    sys.exit(main())
