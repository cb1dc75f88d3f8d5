"""What is measured: cells (one call pattern each) and the token ids that every engine gets.

A cell is a list of groups of sequences. One repetition runs all groups, one call a group. An engine that pads pads
each group to its own longest sequence; work is counted on real tokens only.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

DENSE = ((1, 16), (1, 64), (1, 128), (1, 384), (1, 512), (8, 128))
# 32 sentence lengths drawn from a log-normal distribution (sigma 0.6, mean 25, clipped to 4 … 128), 707 tokens in
# all; written out so that every machine and every numpy measures the same batch.
MIXED_LENGTHS = (13, 9, 43, 14, 13, 33, 14, 27, 14, 23, 34, 17, 39, 26, 11, 9,
                 21, 12, 30, 39, 13, 24, 25, 12, 33, 18, 21, 14, 14, 25, 21, 46)  # fmt: skip
BUCKET = 8
MIXED_ONE_CALL, MIXED_BUCKETS, MIXED_SINGLE = "mixed/1 call", "mixed/buckets", "mixed/single"
MIXED = (MIXED_ONE_CALL, MIXED_BUCKETS, MIXED_SINGLE)
CELL_NAMES = tuple(f"{batch}x{length}" for batch, length in DENSE) + MIXED
QUICK_CELLS = ("1x16", "1x128", MIXED_ONE_CALL, MIXED_BUCKETS)


@dataclasses.dataclass(frozen=True)
class Cell:
    """`groups` are calls; a call is a list of sequences; a sequence is a list of token ids."""

    name: str
    groups: list[list[list[int]]]

    @property
    def sequences(self) -> list[list[int]]:
        return [sequence for group in self.groups for sequence in group]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.sequences))


def file_stem(name: str) -> str:
    return name.replace("/", "-").replace(" ", "-")


class Cutter:
    """Cuts sequences [CLS] … [SEP] of any length out of one long run of real text's ids, round and round."""

    def __init__(self, run: list[int], cls_id: int, sep_id: int) -> None:
        self.run, self.cls_id, self.sep_id, self.at = run, cls_id, sep_id, 0

    def cut(self, length: int) -> list[int]:
        body = [self.run[(self.at + i) % len(self.run)] for i in range(length - 2)]
        self.at += length - 2
        return [self.cls_id, *body, self.sep_id]


def make_cells(cutter: Cutter) -> dict[str, Cell]:
    """All cells by name. The three mixed cells hold the same 32 sequences."""
    cells = [Cell(f"{batch}x{length}", [[cutter.cut(length) for _ in range(batch)]]) for batch, length in DENSE]
    mixed = [cutter.cut(length) for length in MIXED_LENGTHS]
    by_length = sorted(mixed, key=len)
    cells.append(Cell(MIXED_ONE_CALL, [mixed]))
    cells.append(Cell(MIXED_BUCKETS, [by_length[i : i + BUCKET] for i in range(0, len(mixed), BUCKET)]))
    cells.append(Cell(MIXED_SINGLE, [[sequence] for sequence in mixed]))
    return {cell.name: cell for cell in cells}


def write_cells(cells: dict[str, Cell], directory: Path) -> None:
    """One file a cell, in the form of `octobert bench --ids`: a line is one call, an array of arrays of ids."""
    directory.mkdir(parents=True, exist_ok=True)
    for cell in cells.values():
        lines = "".join(json.dumps(group) + "\n" for group in cell.groups)
        (directory / f"{file_stem(cell.name)}.jsonl").write_text(lines)


def read_cell(directory: Path, name: str) -> Cell:
    lines = (directory / f"{file_stem(name)}.jsonl").read_text().splitlines()
    return Cell(name, [json.loads(line) for line in lines])
