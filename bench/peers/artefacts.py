"""Everything that is made once for a model: inputs, float reference logits, and each engine's own files.

Each artefact is a folder that appears whole or not at all, with a stamp of what it was made from; it is made again when
the stamp no longer holds. Engines export in a process of their own, so that what they load does not stay.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from . import cells, engines, models, texts
from .engines import onnx_model
from .models import Model

if TYPE_CHECKING:
    import numpy as np

TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf", "ctranslate2")
REFERENCE = "reference"


def folder(model: Model, work: Path) -> Path:
    return work / "models" / model.name


def _stamp(model: Model, work: Path, recipe: Path, tool: Path | None) -> str:
    """What an artefact depends on: checkpoint, inputs, recipe, versions, and the program that makes it if ours."""
    parts = [recipe.read_text()]
    for path in [*sorted(model.checkpoint.iterdir()), *([tool] if tool else [])]:
        status = path.stat()
        parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    parts += [path.read_text() for path in sorted(folder(model, work).rglob("*.jsonl"))]
    for name in TOOLS:
        try:
            parts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"{name} missing")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def write_inputs(model: Model, work: Path) -> None:
    """The cells and the calibration sequences, cut out of real text; the same for every model with this vocabulary."""
    directory = folder(model, work)
    measured = cells.make_cells(texts.cutter(texts.MEASURED))
    cells.write_cells(measured, directory / "cells")
    calibration = texts.cutter(texts.CALIBRATION)
    lines = [json.dumps(calibration.cut(length)) + "\n" for length in onnx_model.CALIBRATION_LENGTHS]
    (directory / onnx_model.CALIBRATION_FILE).write_text("".join(lines))


def make(model: Model, engine_names: list[str], work: Path) -> dict[str, str]:
    """Makes what is missing; returns the reason for each engine that could not be exported."""
    write_inputs(model, work)
    _make_one(model, REFERENCE, work)
    wanted = [engines.make(name) for name in engine_names]
    faults: dict[str, str] = {}  # by artefact
    for name in [onnx_model.ARTEFACT for engine in wanted if engine.needs_onnx][:1] + engine_names:
        artefact = _artefact(name)
        if artefact in faults:
            continue
        try:
            _make_one(model, name, work)
        except subprocess.CalledProcessError as error:
            faults[artefact] = f"export failed: {_last_line(error.stderr)}"
    return {engine.name: faults[engine.artefact] for engine in wanted if engine.artefact in faults}


def _artefact(name: str) -> str:
    return name if name in BUILT_IN else engines.make(name).artefact


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def _make_one(model: Model, name: str, work: Path) -> None:
    maker = BUILT_IN.get(name) or type(engines.make(name)).export
    directory = folder(model, work) / _artefact(name)
    recipe = Path(maker.__code__.co_filename)
    tool = engines.octobert.binary() if maker is engines.Octobert.export else None
    stamp = _stamp(model, work, recipe, tool)
    stamp_file = directory / ".stamp"
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        return
    print(f"  {model.name}: making {directory.name}", file=sys.stderr, flush=True)
    unfinished = directory.with_name(directory.name + ".unfinished")
    for leftover in (unfinished, directory):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    command = [sys.executable, "-m", "peers.artefacts", name, model.name, str(model.checkpoint), str(unfinished)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (unfinished / ".stamp").write_text(stamp)
    unfinished.rename(directory)


def write_reference(model: Model, directory: Path) -> None:
    """Logits of transformers' model in fp32, each sequence by itself: no padding in what all are compared with."""
    import numpy as np
    import torch
    from transformers import BertForTokenClassification

    network = BertForTokenClassification.from_pretrained(model.checkpoint, dtype=torch.float32).eval()
    for name in cells.CELL_NAMES:
        sequences = cells.read_cell(directory.parent / "cells", name).sequences
        with torch.inference_mode():
            logits = [network(input_ids=torch.tensor([sequence])).logits[0].numpy() for sequence in sequences]
        np.savez(directory / f"{cells.file_stem(name)}.npz", *logits)


def read_reference(model: Model, work: Path, cell: str) -> list[np.ndarray]:
    import numpy as np

    stored = np.load(folder(model, work) / REFERENCE / f"{cells.file_stem(cell)}.npz")
    return [stored[name] for name in stored.files]


# What is made beside the engines' own exports.
BUILT_IN: dict[str, Callable[[Model, Path], None]] = {
    REFERENCE: write_reference,
    onnx_model.ARTEFACT: onnx_model.export,
}


def main() -> None:
    name, model_name, checkpoint, directory = sys.argv[1:]
    model = models.open_model(model_name, Path(checkpoint))
    export = BUILT_IN.get(name) or engines.make(name).export
    export(model, Path(directory))


if __name__ == "__main__":
    main()
