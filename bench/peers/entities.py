"""From logits to entities behind a peer: what a user writes around an engine that stops at logits. Kept light, so that
the peers are not measured by slow Python around them: runs of one label group, scores are means of probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engines.base import Engine, padded, time_repetitions
from .models import POSITIONS, TOKENIZER

if TYPE_CHECKING:
    import numpy as np


def _groups(logits: np.ndarray, offsets: list[tuple[int, int]], labels: tuple[str, ...], text: str) -> list[dict]:
    """Entities of one text; logits [tokens, labels] with the two special tokens at the ends."""
    import numpy as np

    best = logits.argmax(axis=1)
    inside = np.flatnonzero(best[1:-1]) + 1  # label 0 is O
    if not len(inside):
        return []
    exponentials = np.exp(logits[inside] - logits[inside].max(axis=1, keepdims=True))
    scores = exponentials.max(axis=1) / exponentials.sum(axis=1)
    found: list[dict] = []
    previous = -2
    for score, token in zip(scores.tolist(), inside.tolist()):
        tag, _, kind = labels[best[token]].partition("-")
        begin, end = offsets[token]
        if found and token == previous + 1 and tag == "I" and found[-1]["label"] == kind:
            found[-1]["end"] = end
            found[-1]["scores"].append(score)
        else:
            found.append({"label": kind, "begin": begin, "end": end, "scores": [score]})
        previous = token
    for entity in found:
        scores_of_entity = entity.pop("scores")
        entity["score"] = sum(scores_of_entity) / len(scores_of_entity)
        entity["text"] = text[entity["begin"] : entity["end"]]
    return found


class TextPipeline:
    """HuggingFace's tokenizer (Rust), an engine, and the grouping above."""

    def __init__(self, engine: Engine, labels: tuple[str, ...]) -> None:
        from tokenizers import Tokenizer

        self.engine, self.labels = engine, labels
        self.tokenizer = Tokenizer.from_file(str(TOKENIZER))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(POSITIONS)

    def call(self, batch: list[str]) -> list[list[dict]]:
        encodings = [self.tokenizer.encode(batch[0])] if len(batch) == 1 else self.tokenizer.encode_batch(batch)
        logits = self.engine.to_logits(self.engine.infer(*padded([encoding.ids for encoding in encodings])))
        return [
            _groups(logits[row, : len(encoding.ids)], encoding.offsets, self.labels, text)
            for row, (encoding, text) in enumerate(zip(encodings, batch))
        ]

    def time(self, handed_over: list[list[str]], seconds: float, first_turn: bool) -> dict[str, float]:
        """One repetition hands over all batches, one call each."""
        return time_repetitions(lambda: [self.call(batch) for batch in handed_over], seconds, first_turn)


# How a stream of sentences is handed over: one by one; as many at a time as came; or sorted by length within that.
BATCHINGS = ("1", "8", "32", "32 in sorted 8s")


def batches(sentences: list[str], batching: str) -> list[list[str]]:
    size = int(batching.split()[0])
    taken = [sentences[i : i + size] for i in range(0, len(sentences), size)]
    if "sorted" not in batching:
        return taken
    ordered = [sorted(group, key=len) for group in taken]
    return [group[i : i + 8] for group in ordered for i in range(0, len(group), 8)]
