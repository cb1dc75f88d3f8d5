"""What every engine of the comparison provides.

An engine object lives in a worker process of its own (worker.py). To add one: write a file here with a class that
has these methods, and add its modes to the registry in __init__.py.
"""

from __future__ import annotations

import abc
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ..cells import Cell
from ..models import Model

if TYPE_CHECKING:  # imported where it is used: engines are looked up by name, and results read, without it
    import numpy as np

WARM_UP_SECONDS = 0.15  # on the first turn of a cell; later turns begin with one untimed repetition
SKIP_WARM_UP_ABOVE = 1.0  # a repetition this long is its own warm-up
MIN_REPETITIONS = 3
GIVE_UP_AFTER = 4  # times the asked-for seconds: then fewer repetitions have to do


def padded(group: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask of a padded batch, both int64 [batch, longest]."""
    import numpy as np

    longest = max(map(len, group))
    ids = np.zeros((len(group), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(group):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


def time_repetitions(once: Callable[[], Any], seconds: float, first_turn: bool) -> dict[str, float]:
    """Times `once` again and again for about `seconds`."""
    start = time.perf_counter()
    once()
    took = time.perf_counter() - start
    if first_turn and took < SKIP_WARM_UP_ABOVE:
        until = time.perf_counter() + WARM_UP_SECONDS
        while time.perf_counter() < until:
            once()
    times: list[float] = []
    start = time.perf_counter()
    while True:
        before = time.perf_counter()
        once()
        after = time.perf_counter()
        times.append(after - before)
        spent = after - start
        if spent >= seconds and (len(times) >= MIN_REPETITIONS or spent >= GIVE_UP_AFTER * seconds):
            return {"median_ms": statistics.median(times) * 1e3}


class Engine(abc.ABC):
    """One engine in one mode. `name` is the mode's; the class attributes say how to read its figures."""

    kind: str  # "int8", "weight-only", "float": engines are compared within a kind
    any_shape = True  # False: a graph compiled for each shape, printed in brackets, carries no bar
    ours = False
    distributions: tuple[str, ...] = ()  # Python packages that a user has to install

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: set[str] = set()

    # ---- once, in a process of its own ----
    needs_onnx = False  # export() reads the ONNX graph (onnx_model.py)
    artefact: str  # folder that export() fills; modes with the same artefact share it

    @abc.abstractmethod
    def export(self, model: Model, directory: Path) -> None:
        """Writes the model in the engine's own form into the empty `directory`."""

    def shipped_bytes(self, model: Model, directory: Path) -> int:
        """What a user deploys beside the engine itself."""
        return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())

    # ---- in the worker ----
    @abc.abstractmethod
    def load(self, model: Model, directory: Path, threads: int) -> None: ...

    @abc.abstractmethod
    def version(self) -> str: ...

    def infer(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """int64 [batch, length] twice -> the engine's output as a numpy array of its own. This is what is timed."""
        raise NotImplementedError

    def to_logits(self, output: np.ndarray) -> np.ndarray:
        """[batch, length, labels] from what infer() gave; for engines that stop before the classifier."""
        return output

    def kernels(self) -> dict[str, int]:
        """Implementations that the engine says it runs, with how many operations use each; empty if it can't say."""
        return {}

    # ---- what the conductor asks for; an engine that is not a Python library overrides these ----
    def time_cell(self, cell: Cell, seconds: float) -> dict[str, float]:
        batches = [padded(group) for group in cell.groups]
        first = cell.name not in self.seen
        self.seen.add(cell.name)
        return time_repetitions(lambda: [self.infer(*batch) for batch in batches], seconds, first)

    def cell_logits(self, cell: Cell) -> list[np.ndarray]:
        """One [tokens, labels] array a sequence."""
        out = []
        for group in cell.groups:
            logits = self.to_logits(self.infer(*padded(group)))
            out += [logits[row, : len(sequence)].copy() for row, sequence in enumerate(group)]
        return out

    def text_pipeline(self, model: Model) -> Any:
        """What turns texts into entities around this loaded engine: an object with the methods of TextPipeline."""
        from .. import entities

        return entities.TextPipeline(self, model.labels)
