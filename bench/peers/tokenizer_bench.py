"""Tokenizers alone: MB/s on one core, one text a call and in batches, and on how many texts they differ from
HuggingFace's. Run in a process of its own, which holds itself to one core.

    python -m peers.tokenizer_bench ROUNDS TEXTS MODEL.octo

About TEXTS texts of each set (0: all of them); with "" for the model, the peers alone. Prints a JSON array.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable

from . import models, texts
from .engines import octobert

Ids = list[list[int]]
CLS, SEP, UNK = 101, 102, 100  # of the bundled vocabulary
LONGEST = 1 << 16  # tokens of the longest text, for those that want a buffer


class HuggingFace:
    """The reference."""

    name = "HuggingFace tokenizers"

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(models.TOKENIZER))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def ways(self, lines: list[str]) -> dict[str, Callable[[], object]]:
        one, batch, fast = self.tokenizer.encode, self.tokenizer.encode_batch, self.tokenizer.encode_batch_fast
        return {
            "one text a call": lambda: [one(line) for line in lines],
            "in batches": lambda: batch(lines),
            "in batches, without offsets": lambda: fast(lines),
        }

    def ids(self, lines: list[str]) -> Ids:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(lines)]


class BlingFire:
    name = "BlingFire"

    def __init__(self) -> None:
        import blingfire

        self.library = blingfire
        model = Path(blingfire.__file__).parent / "bert_base_tok.bin"
        self.handle = blingfire.load_model(str(model))

    def ways(self, lines: list[str]) -> dict[str, Callable[[], object]]:
        encode, handle = self.library.text_to_ids, self.handle
        offsets = self.library.utf8text_to_ids_with_offsets
        return {
            "one text a call, without offsets": lambda: [encode(handle, line, 512, UNK, True) for line in lines],
            "one text a call": lambda: [offsets(handle, line.encode(), 512, UNK, True) for line in lines],
        }

    def ids(self, lines: list[str]) -> Ids:
        encode = self.library.text_to_ids
        return [[CLS, *encode(self.handle, line, LONGEST, UNK, True).tolist(), SEP] for line in lines]


class FlashTokenizer:
    name = "FlashTokenizer"

    def __init__(self) -> None:
        from flash_tokenizer import BertTokenizerFlash

        flash = BertTokenizerFlash(str(models.VOCABULARY), do_lower_case=True, model_max_length=LONGEST)
        self.tokenizer = flash.tokenizer

    def ways(self, lines: list[str]) -> dict[str, Callable[[], object]]:
        one, batch = self.tokenizer.encode, self.tokenizer.batch_encode
        return {
            "one text a call, without offsets": lambda: [one(line, "longest", LONGEST) for line in lines],
            "in batches, without offsets": lambda: batch(lines, "longest", LONGEST, False),
        }

    def ids(self, lines: list[str]) -> Ids:
        return [list(self.tokenizer.encode(line, "longest", LONGEST)) for line in lines]


class Octobert:
    """Through peers_text_probe. Its API takes one text a call; a batch is that again and again."""

    name = "octobert"
    model = Path()  # set by main()

    def ways(self, lines: list[str]) -> dict[str, Callable[[], object]]:
        text = "".join(line + "\n" for line in lines)
        return {"one text a call": lambda: octobert.run_text_probe(self.model, 1, "tokenize", text, 0.3)}

    def ids(self, lines: list[str]) -> Ids:
        return octobert.probe_ids(self.model, "".join(line + "\n" for line in lines))


def differing(ids: Ids, reference: Ids) -> int:
    if len(ids) != len(reference):
        raise ValueError(f"{len(ids)} texts came back of {len(reference)}")
    return sum(ours != exact for ours, exact in zip(ids, reference))


def one_pass(run: Callable[[], object]) -> float:
    """Seconds of a pass over all texts: measured here, or by the probe itself."""
    before = time.perf_counter()
    answer = run()
    return answer["median_ms"] / 1e3 if isinstance(answer, dict) else time.perf_counter() - before


def compare(name: str, lines: list[str], rounds: int, makers: list[Any]) -> dict:
    """Every tokenizer on one set of texts, in turns: seconds of each pass, by way of calling; texts that differ."""
    reference = HuggingFace().ids(lines)
    rows: dict[str, dict[str, Any]] = {}
    turns: list[tuple[list[float], Callable[[], object]]] = []
    for maker in makers:
        try:
            tokenizer = maker()
            seconds: dict[str, list[float]] = {}
            rows[maker.name] = {"differ": differing(tokenizer.ids(lines), reference), "seconds": seconds}
            for way, run in tokenizer.ways(lines).items():
                run()
                turns.append((seconds.setdefault(way, []), run))
        except Exception as error:  # one peer's failure is a row of the report
            rows[maker.name] = {"error": f"{type(error).__name__}: {error}"[:200]}
    for turn in range(rounds):
        for passes, run in turns if turn % 2 == 0 else reversed(turns):
            passes.append(one_pass(run))
    megabytes = sum(len(line.encode()) for line in lines) / 1e6
    tokens = sum(map(len, reference))
    return {"texts": name, "count": len(lines), "mb": megabytes, "tokens": tokens, "tokenizers": rows}


def main() -> None:
    rounds, limit, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    makers: list[Any] = [HuggingFace, BlingFire, FlashTokenizer]
    if path:
        Octobert.model = Path(path)
        makers.append(Octobert)
    results = []
    for name, lines in (texts.english(), texts.multilingual()):
        spread = lines[:: max(1, len(lines) // limit)] if limit else lines
        if spread:
            results.append(compare(name, spread, rounds, makers))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
