"""Workers and whose turn it is.

Every engine is loaded in a process of its own. For each cell all engines take a turn, then all take another in the
reverse order, and so on: what else happens on the machine falls on all of them. A worker is stopped (SIGSTOP) while
it is not its turn, since some libraries' threads go on spinning after a call.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from . import engines, machine
from .models import Model

# CTranslate2 and PyTorch take large tensors from malloc at every call; depending on what ran before, glibc gives them
# back to the system each time and half of the time goes to page faults. These settings are the faster mode of both.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
ANSWER_SECONDS = 900  # loading BERT-large in PyTorch on a busy machine takes a minute
CONTENDED_CORES = 0.15  # a turn during which something else used more than this is marked


class WorkerFailed(Exception):
    """The worker's process is gone, or does not answer."""


class Worker:
    """One engine in a process of its own, held to `threads` cores and, by `hold`, to an instruction set."""

    def __init__(self, engine: str, model: Model, work: Path, threads: int, hold: str = "", log: Path | None = None):
        self.engine, self.threads, self.hold = engine, threads, hold
        environment = {
            **os.environ,
            **({} if engines.make(engine).ours else MALLOC),
            **engines.HOLDS[hold],
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        cores = ",".join(map(str, machine.cores_for(threads)))
        command = ["taskset", "-c", cores, sys.executable, "-m", "peers.worker"]
        arguments = [engine, model.name, str(model.checkpoint), str(work), str(threads)]
        log = log or work / "workers.log"
        with open(log, "a") as errors:
            self.process = subprocess.Popen(
                command + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=environment,
            )  # fmt: skip

    @property
    def name(self) -> str:
        return f"{self.engine}@{self.hold}" if self.hold else self.engine

    def ask(self, do: str, **request) -> dict:
        """The answer, {"error": ...} included. Throws WorkerFailed."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        self._signal(signal.SIGCONT)
        try:
            stdin.write(json.dumps({"do": do, **request}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(f"ended with {self.process.wait()}") from None
        ready, _, _ = select.select([stdout], [], [], ANSWER_SECONDS)
        if not ready:
            self.process.kill()
            raise WorkerFailed(f"no answer to {do!r} within {ANSWER_SECONDS} s")
        line = stdout.readline()
        if not line:
            raise WorkerFailed(f"ended with {self.process.wait()} during {do!r}")
        return json.loads(line)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)


@dataclasses.dataclass
class Figure:
    """One engine on one cell: its turns' medians. Turns that were disturbed count only if no other is there."""

    medians: list[float] = dataclasses.field(default_factory=list)  # ms
    disturbed_medians: list[float] = dataclasses.field(default_factory=list)
    pages: list[dict] = dataclasses.field(default_factory=list)  # machine.mapped_mb of octobert's turns
    error: str = ""

    def add(self, answer: dict, bystander_cores: float) -> None:
        if "error" in answer:
            self.error = answer["error"]
            return
        turns = self.disturbed_medians if bystander_cores > CONTENDED_CORES else self.medians
        turns.append(answer["median_ms"])
        self.pages += [answer["pages"]] if answer.get("pages") else []

    def result(self) -> dict:
        turns = self.medians or self.disturbed_medians
        if not turns:
            return {"error": self.error or "not measured"}
        return {
            "ms": statistics.median(turns),
            "low_ms": min(turns),
            "high_ms": max(turns),
            "disturbed": not self.medians,
            "turns_ms": [round(turn, 4) for turn in turns],
            **({"pages": self.pages} if self.pages else {}),
        }


def interleave(workers: list[Worker], requests: dict[str, dict], rounds: int, progress=None) -> dict[str, dict]:
    """results[request][worker name]. Each request is asked of every worker `rounds` times, in turns; a worker that
    fails takes no more part, with the reason in its results."""
    results: dict[str, dict] = {}
    failed: dict[str, str] = {}
    for title, request in requests.items():
        figures = {worker.name: Figure() for worker in workers}
        for turn in range(rounds):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                if worker.name not in failed:
                    _take_turn(worker, request, figures[worker.name], failed)
        for name, reason in failed.items():
            figures[name].error = figures[name].error or reason
        results[title] = {name: figure.result() for name, figure in figures.items()}
        if progress:
            progress(title, results[title])
    return results


def _take_turn(worker: Worker, request: dict, figure: Figure, failed: dict[str, str]) -> None:
    bystanders = machine.Bystanders([worker.process.pid])
    try:
        figure.add(worker.ask(**request), bystanders.cores())
    except WorkerFailed as error:
        figure.error = failed[worker.name] = str(error)
        print(f"  {worker.name}: {error}", file=sys.stderr, flush=True)
    worker.pause()
    time.sleep(0.02)  # for what the system still does on its behalf
