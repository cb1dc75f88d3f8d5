"""octobert itself: `octobert bench --ids` for times, `octobert logits --ids` for accuracy. A process a turn: opening a
packed file takes milliseconds, and each turn then meets its own placement in memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .. import machine
from ..cells import Cell
from ..models import Model
from .base import Engine

if TYPE_CHECKING:
    import numpy as np

BUILD_VARIABLE = "OCTOBERT_PEERS_BUILD"  # the build directory, from the conductor to its workers


def binary() -> Path:
    return Path(os.environ[BUILD_VARIABLE]) / "bin" / "octobert"


def artefact(scheme: str) -> str:
    return f"octobert-{scheme}"


def run_binary(*arguments: str, stdin: str | None = None) -> str:
    """Standard output. The error of a failed command is what it printed."""
    return _run([str(binary()), *arguments], stdin)


def _run(command: list[str], stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise _failure(command, done.returncode, done.stderr)
    return done.stdout


def _failure(command: list[str], status: int, stderr: str) -> RuntimeError:
    return RuntimeError(f"{Path(command[0]).name} {command[1]} ended with {status}: {stderr.strip()[-300:]}")


def _timed_turn(command: list[str], model: Path, seconds: float) -> dict:
    """The median that the command finds in about `seconds`, and how it has mapped the model's file half-way: a look
    that falls on one repetition of the turn."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pages = {}
        try:
            stdout, stderr = process.communicate(timeout=seconds / 2)
        except subprocess.TimeoutExpired:
            pages = machine.mapped_mb(process.pid, model)
            stdout, stderr = process.communicate()
    if process.returncode != 0:
        raise _failure(command, process.returncode, stderr)
    return {"median_ms": json.loads(stdout)["median_ms"], "pages": pages}


class Octobert(Engine):
    ours = True

    def __init__(self, name: str, kind: str, scheme: str) -> None:
        super().__init__(name)
        self.kind, self.scheme = kind, scheme
        self.artefact = artefact(scheme)

    def export(self, model: Model, directory: Path) -> None:
        path = directory / "model.octo"
        run_binary("convert", str(model.checkpoint), "-o", str(path), "--scheme", self.scheme, "--quiet")

    def load(self, model: Model, directory: Path, threads: int) -> None:
        self.path, self.threads, self.labels = directory / "model.octo", threads, len(model.labels)
        _drop_from_cache(self.path)
        run_binary("inspect", str(self.path))  # there, and readable by this build

    def time_cell(self, cell: Cell, seconds: float) -> dict:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as calls:
            calls.writelines(json.dumps(group) + "\n" for group in cell.groups)
            calls.flush()
            command = [str(binary()), "bench", str(self.path), "--ids", calls.name, "--threads", str(self.threads)]
            return _timed_turn([*command, "--seconds", str(seconds), "--json"], self.path, seconds)

    def cell_logits(self, cell: Cell) -> list[np.ndarray]:
        from safetensors.numpy import load_file

        lines = "".join(json.dumps(sequence) + "\n" for sequence in cell.sequences)
        with tempfile.TemporaryDirectory() as directory:
            out = f"{directory}/logits.safetensors"
            run_binary("logits", str(self.path), "--ids", "-o", out, "--threads", str(self.threads), stdin=lines)
            tensors = load_file(out)
        return [tensors[f"logits.{index}"] for index in range(len(cell.sequences))]

    def kernels(self) -> dict[str, int]:
        return {json.loads(run_binary("info", "--json"))["isa"]: 1}

    def version(self) -> str:
        return run_binary("--version").strip()

    def text_pipeline(self, model: Model) -> OctobertTexts:
        return OctobertTexts(self)


def _drop_from_cache(path: Path) -> None:
    """So that the engine, which asks for pages of 2 MB, reads the file into them: one that is in the cache in small
    pages stays so (docs/PERFORMANCE.md). The converter does it for what it has just written."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class OctobertTexts:
    """Text to entities through the library: peers_text_probe, which times Engine::analyze."""

    def __init__(self, engine: Octobert) -> None:
        self.engine = engine

    def call(self, batch: list[str]) -> list[list[dict]]:
        lines = run_binary("run", str(self.engine.path), "--json", stdin="".join(text + "\n" for text in batch))
        return [json.loads(line)["entities"] for line in lines.splitlines()]

    def time(self, handed_over: list[list[str]], seconds: float, first_turn: bool) -> dict:
        text = "\n".join("".join(line + "\n" for line in batch) for batch in handed_over)
        return run_text_probe(self.engine.path, self.engine.threads, "entities", text, seconds)


def run_text_probe(path: Path, threads: int, what: str, text: str, seconds: float) -> dict:
    """`text`: one text a line; an empty line ends a batch."""
    with _text_file(text) as file:
        return _timed_turn(_text_probe(path, threads, what, file.name, seconds), path, seconds)


def probe_ids(path: Path, text: str) -> list[list[int]]:
    """The tokenizer's ids of each line."""
    with _text_file(text) as file:
        lines = _run(_text_probe(path, 1, "ids", file.name, 0)).splitlines()
    return [[int(number) for number in line.split()] for line in lines]


def _text_file(text: str) -> IO[str]:
    """Gone when it is closed."""
    file = tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8")
    file.write(text)
    file.flush()
    return file


def _text_probe(path: Path, threads: int, what: str, text_file: str, seconds: float) -> list[str]:
    probe = Path(os.environ[BUILD_VARIABLE]) / "bin" / "peers_text_probe"
    isa = os.environ.get("OCTOBERT_ISA", "")
    return [str(probe), what, str(path), str(threads), isa, str(seconds), text_file]
