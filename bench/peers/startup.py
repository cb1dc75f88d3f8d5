"""Process start to the first entity, and what a process then holds in memory. One thread, files in the page cache."""

from __future__ import annotations

import json
import select
import statistics
import subprocess
import time
from pathlib import Path

from . import engines, machine, texts
from .artefacts import folder
from .engines import octobert
from .models import Model
from .turns import Worker, WorkerFailed

ANSWER_SECONDS = 30


def measure(engine_name: str, model: Model, work: Path, rounds: int) -> dict:
    """Seconds to the first entity (the first start, which may read from the disk, is not counted), and memory after
    a text of 128 tokens."""
    start = _start_octobert if engines.make(engine_name).ours else _start_peer
    try:
        trials = [start(engine_name, model, work) for _ in range(rounds + 1)][1:]
    except (WorkerFailed, RuntimeError, subprocess.SubprocessError, OSError) as error:
        return {"error": str(error)}
    seconds = [trial["seconds"] for trial in trials]
    return {
        "first_entity_s": statistics.median(seconds),
        "low_s": min(seconds),
        "high_s": max(seconds),
        **_median_load(trials),
        "memory": trials[-1]["memory"],
    }


def _median_load(trials: list[dict]) -> dict:
    """The part of a peer's start that its import and load took; ours opens its file in `open_ms` (parts.py)."""
    return {"load_s": statistics.median(trial["load_s"] for trial in trials)} if "load_s" in trials[0] else {}


def _start_peer(engine_name: str, model: Model, work: Path) -> dict:
    before = time.perf_counter()
    worker = Worker(engine_name, model, work, threads=1)
    try:
        load_s = _answer(worker, "load")["load_s"]
        _answer(worker, "first")
        seconds = time.perf_counter() - before
        return {"seconds": seconds, "load_s": load_s, "memory": _answer(worker, "memory")["memory"]}
    finally:
        worker.close()


def _answer(worker: Worker, request: str) -> dict:
    answer = worker.ask(request)
    if "error" in answer:
        raise WorkerFailed(answer["error"])
    return answer


def _start_octobert(engine_name: str, model: Model, work: Path) -> dict:
    """`octobert run`, kept alive by its open standard input while its memory is read."""
    path = folder(model, work) / engines.make(engine_name).artefact / "model.octo"
    command = ["taskset", "-c", str(machine.cores_for(1)[0]), str(octobert.binary()), "run", str(path)]
    before = time.perf_counter()
    with subprocess.Popen(
        [*command, "--threads", "1", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            _analyze(process, texts.SENTENCE_16)
            seconds = time.perf_counter() - before
            _analyze(process, texts.text_of_128_tokens())
            return {"seconds": seconds, "memory": machine.memory_mb(process.pid)}
        finally:
            process.kill()


def _analyze(process: subprocess.Popen, text: str) -> dict:
    """A line in, a line out: `octobert run` waits for nothing more before it answers."""
    assert process.stdin and process.stdout
    try:
        process.stdin.write(text + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise RuntimeError(f"octobert run ended with {process.wait()}") from None
    ready, _, _ = select.select([process.stdout], [], [], ANSWER_SECONDS)
    if not ready:
        raise RuntimeError(f"octobert run: no answer to a line within {ANSWER_SECONDS} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"octobert run ended with {process.wait()}")
    return json.loads(line)
