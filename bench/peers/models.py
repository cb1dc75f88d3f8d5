"""The checkpoints that are measured, and how much work a cell is on each."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Iterable

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLED = REPOSITORY / "models" / "minilm-ner"
TOKENIZER = BUNDLED / "tokenizer.json"  # the random checkpoints have its vocabulary
POSITIONS = 512
VOCABULARY = BUNDLED / "vocab.txt"
RANDOM_SHAPES = ("bert-base", "bert-large")
MODEL_NAMES = (*RANDOM_SHAPES, "minilm")
SEED = 7


@dataclasses.dataclass(frozen=True)
class Model:
    """A checkpoint folder with the numbers of its config that the cost depends on."""

    name: str
    checkpoint: Path
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab: int
    labels: tuple[str, ...]

    @property
    def encoder_weights(self) -> int:
        """Weights of the encoder's matrix products: what a call streams from memory, a byte each in int8."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)

    def gmac(self, sequences: Iterable[list[int]]) -> float:
        """Useful multiply-accumulates in 1e9: linear layers, both products of attention, classifier; real tokens."""
        lengths = [len(sequence) for sequence in sequences]
        tokens, squares = sum(lengths), sum(length * length for length in lengths)
        attention = self.layers * 2 * self.hidden * squares
        return (self.encoder_weights * tokens + attention + self.hidden * len(self.labels) * tokens) / 1e9


def open_model(name: str, checkpoint: Path) -> Model:
    config = json.loads((checkpoint / "config.json").read_text())
    names = {int(index): label for index, label in config["id2label"].items()}
    return Model(
        name=name,
        checkpoint=checkpoint,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        intermediate=config["intermediate_size"],
        vocab=config["vocab_size"],
        labels=tuple(names[i] for i in range(len(names))),
    )


def prepare_model(name: str, work: Path) -> Model:
    """The bundled MiniLM, or a seeded random checkpoint of the named shape, written once."""
    if name == "minilm":
        return open_model(name, BUNDLED)
    checkpoint = work / "models" / name / "checkpoint"
    if not checkpoint.exists():
        unfinished = checkpoint.with_suffix(".unfinished")
        shape = name.removeprefix("bert-")
        script = REPOSITORY / "scripts" / "make_random_checkpoint.py"
        command = [sys.executable, str(script), str(unfinished), "--shape", shape, "--seed", str(SEED)]
        subprocess.run(command, check=True)
        unfinished.rename(checkpoint)
    return open_model(name, checkpoint)
