"""Real text for the measurements: the repository's evaluation sentences, and more of it where ../shared is there."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from . import models
from .cells import Cutter

SHARED = models.REPOSITORY.parent / "shared" / "data"
MEASURED = models.REPOSITORY / "data" / "ner" / "E1.tsv"
CALIBRATION = models.REPOSITORY / "data" / "ner" / "E2.tsv"
MULTILINGUAL = "data/text"  # what the results call that set of texts
STREAM_SENTENCES = 96
# 27 and 16 word pieces, [CLS] and [SEP] included.
SENTENCE_27 = (
    "On Monday Maria Rossi of the Bank of Italy told reporters in Rome that she will visit both Toronto and Kyoto "
    "again next spring."
)
SENTENCE_16 = "Maria Rossi of the Bank of Italy will visit Toronto and Kyoto soon."


def read_sentences(path: Path) -> list[str]:
    """Sentences of a CoNLL-style file (word TAB label, an empty line between), words joined by spaces."""
    sentences, words = [], []
    for line in path.read_text(encoding="utf-8").splitlines() + [""]:
        if line:
            words.append(line.split("\t")[0])
        elif words:
            sentences.append(" ".join(words))
            words = []
    return sentences


@functools.cache
def _tokenizer():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(models.TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def cutter(path: Path) -> Cutter:
    """Cuts sequences of any length out of a file's text."""
    encodings = _tokenizer().encode_batch(read_sentences(path), add_special_tokens=False)
    run = [token for encoding in encodings for token in encoding.ids]
    vocabulary = _tokenizer().get_vocab()
    return Cutter(run, vocabulary["[CLS]"], vocabulary["[SEP]"])


def token_count(text: str) -> int:
    return len(_tokenizer().encode(text).ids)


def text_of_128_tokens() -> str:
    """As many words of running text as give no more than 128 word pieces."""
    words = " ".join(stream()).split(" ")
    count = len(words)
    while token_count(" ".join(words[:count])) > 128:
        count = count // 2 if count > 256 else count - 1
    return " ".join(words[:count])


def stream() -> list[str]:
    """Short sentences as they come, for text to entities."""
    return read_sentences(MEASURED)[:STREAM_SENTENCES]


def english() -> tuple[str, list[str]]:
    """Where it is from, and the sentences that tokenizers are measured on."""
    train = SHARED / "ner" / "english" / "train.tsv"
    if train.exists():
        return "english/train.tsv", read_sentences(train)
    return "data/ner/E1.tsv and E2.tsv (no ../shared)", read_sentences(MEASURED) + read_sentences(CALIBRATION)


def multilingual() -> tuple[str, list[str]]:
    """Strings in many scripts, some of them nasty. One a line: line breaks and NULs inside become spaces."""
    files = sorted((SHARED / "text").glob("*.jsonl"))
    strings = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").split("\n") if line]
    one_line = [" ".join(text.replace("\0", " ").splitlines()) for text in strings if isinstance(text, str)]
    # A lone surrogate has no UTF-8: no tokenizer can be given it.
    return MULTILINGUAL, [text for text in one_line if text and text == text.encode("utf-8", "replace").decode("utf-8")]
