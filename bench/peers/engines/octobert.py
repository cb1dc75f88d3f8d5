"""octobert itself: `octobert bench --ids` for times, `octobert logits --ids` for accuracy. A process a turn: opening a
packed file takes milliseconds, and each turn then meets its own placement in memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..cells import Cell
from ..models import Model
from .base import Engine

BUILD_VARIABLE = "OCTOBERT_PEERS_BUILD"  # the build directory, from the conductor to its workers


def binary() -> Path:
    return Path(os.environ[BUILD_VARIABLE]) / "bin" / "octobert"


def artefact(scheme: str) -> str:
    return f"octobert-{scheme}"


def run_binary(*arguments: str, stdin: str | None = None) -> str:
    """Standard output. The error of a failed command is what it printed."""
    command = [str(binary()), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"octobert {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


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
        run_binary("inspect", str(self.path))  # there, and readable by this build

    def time_cell(self, cell: Cell, seconds: float) -> dict[str, float]:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as calls:
            calls.writelines(json.dumps(group) + "\n" for group in cell.groups)
            calls.flush()
            common = ("--threads", str(self.threads), "--seconds", str(seconds), "--json")
            result = json.loads(run_binary("bench", str(self.path), "--ids", calls.name, *common))
        return {key: result[key] for key in ("median_ms", "min_ms", "p90_ms", "repetitions")}

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


class OctobertTexts:
    """Text to entities through the library: peers_text_probe, which times Engine::analyze."""

    def __init__(self, engine: Octobert) -> None:
        self.engine = engine

    def call(self, batch: list[str]) -> list[list[dict]]:
        lines = run_binary("run", str(self.engine.path), "--json", stdin="".join(text + "\n" for text in batch))
        return [json.loads(line)["entities"] for line in lines.splitlines()]

    def time(self, handed_over: list[list[str]], seconds: float, first_turn: bool) -> dict[str, float]:
        text = "\n".join("".join(line + "\n" for line in batch) for batch in handed_over)
        return run_text_probe(self.engine.path, self.engine.threads, "entities", text, seconds)


def run_text_probe(path: Path, threads: int, what: str, text: str, seconds: float) -> dict[str, float]:
    """`text`: one text a line; an empty line ends a batch."""
    return json.loads(_text_probe(path, threads, what, text, seconds))


def probe_ids(path: Path, text: str) -> list[list[int]]:
    """The tokenizer's ids of each line."""
    lines = _text_probe(path, 1, "ids", text, 0).splitlines()
    return [[int(number) for number in line.split()] for line in lines]


def _text_probe(path: Path, threads: int, what: str, text: str, seconds: float) -> str:
    probe = Path(os.environ[BUILD_VARIABLE]) / "bin" / "peers_text_probe"
    isa = os.environ.get("OCTOBERT_ISA", "")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        command = [str(probe), what, str(path), str(threads), isa, str(seconds), file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"peers_text_probe {what} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
