"""What octobert is held to: the bars of the speed issue, each with what this run measured. Ratios are of times in one
run, peer / octobert; shares are of the ceilings measured in the same run."""

from __future__ import annotations

import dataclasses
from typing import Iterator

from . import probe
from .cells import MIXED, MIXED_BUCKETS, MIXED_ONE_CALL, MIXED_SINGLE
from .results import Figure, Results
from .texts import MULTILINGUAL

OURS = "octobert"


@dataclasses.dataclass(frozen=True)
class Bar:
    """`at_least` or `at_most` is set. `measured` is None where the run has no figure for it, and `note` says why."""

    group: str
    what: str
    measured: float | None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"  # "×", "%" (a share of 1), "ms", "s", "MB", "texts"
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        low = self.at_least is None or self.measured >= self.at_least
        return low and (self.at_most is None or self.measured <= self.at_most)


LARGE_MODELS = ("bert-base", "bert-large")
LARGE_SHARES = {"1x64": 0.83, "1x128": 0.86, "1x512": 0.80, "8x128": 0.88, MIXED_ONE_CALL: 0.88}
SHARES = {
    "bert-base": LARGE_SHARES,
    "bert-large": LARGE_SHARES,
    "minilm": {"1x128": 0.76, "8x128": 0.76, "1x384": 0.63, "1x512": 0.63},
}
ROOFLINE_AT_16 = 0.70
AHEAD = {"1x16": 1.4, "1x64": 1.25, "1x128": 1.25, "1x384": 1.0, "1x512": 1.15, "8x128": 1.15}
AHEAD_MIXED = 1.6
TWO_THREADS, TWO_THREADS_AT_16 = 1.9, 1.7
MOST_NOISE = 0.05  # what the turns' spread may excuse: a noisy run must not meet every bar
FLOAT_AHEAD = 1.0
# Level with CTranslate2: the kernels have the split rows, whose bar that is (0.93 was the plain chain's).
AVX2_SHARE, AVX2_OVER_FLOAT, AVX2_OVER_CTRANSLATE2, AVX2_OVER_OPENVINO = 0.85, 1.5, 1.0, 1.8
AVX_VNNI_SHARE = 0.83
STREAM_AHEAD, SENTENCE_AHEAD = 1.5, 10.0
TOKENIZER_AHEAD = {"English": 20.0, "many scripts": 12.0}
FIRST_ENTITY_MS, OPEN_MS = 40.0, 5.0
MEMORY_OVER_FILE_MB, ANONYMOUS_MB = 12.0, 12.0
LIBRARY_MB, COMMAND_MB = 1.5, 5.0
CONVERT_S, CONVERT_OVER_LARGEST_TENSOR = 2.0, 1.5
NO_FIGURE, NO_PEER = "octobert: no figure", "no peer's figure"


def all_bars(results: Results) -> list[Bar]:
    makers = (shares, ahead, two_threads, batches, floats, held, texts, tokenizers, start, conversions, sizes)
    return [bar for maker in makers for bar in maker(results)]


def _threads(results: Results) -> list[int]:
    return sorted({row["threads"] for row in results.data["cells"]})


def _models(results: Results) -> list[str]:
    return list(results.data["models"])


def _where(model: str, threads: int, cell: str) -> str:
    return f"{model}, {cell}, {threads} thread{'s' if threads > 1 else ''}"


def shares(results: Results) -> Iterator[Bar]:
    group = "Whole encoder, share of the VNNI peak"
    for model in _models(results):
        for cell, bar in SHARES[model].items():
            figure = results.cell(model, 1, cell, OURS)
            share = results.share_of_peak(figure) if figure else None
            note = NO_FIGURE if figure is None else "" if share else "no VNNI here, or no ceilings"
            yield Bar(group, _where(model, 1, cell), share, at_least=bar, unit="%", note=note)
        if model in LARGE_MODELS:
            figure = results.cell(model, 1, "1x16", OURS)
            share = results.share_of_roofline(figure) if figure else None
            what = _where(model, 1, "1x16") + ": of the roofline"
            yield Bar(group, what, share, at_least=ROOFLINE_AT_16, unit="%", note="" if share else NO_FIGURE)


def ratio(slower: Figure | None, faster: Figure | None) -> tuple[float | None, str]:
    """Time of `slower` over that of `faster`, and a note with the first one's name or what is missing."""
    if faster is None:
        return None, NO_FIGURE
    if slower is None:
        return None, NO_PEER
    return slower["ms"] / faster["ms"], slower["engine"]


def best_peer(results: Results, model: str, threads: int, cells: tuple[str, ...], kind: str = "int8") -> Figure | None:
    peers = [figure for cell in cells for figure in results.peers(model, threads, cell, kind)]
    return min(peers, key=lambda figure: figure["ms"], default=None)


def ahead(results: Results) -> Iterator[Bar]:
    group = "Ahead of the best peer of any shape"
    for model in _models(results):
        for threads in _threads(results):
            for cell, bar in AHEAD.items():
                peer = best_peer(results, model, threads, (cell,))
                measured, note = ratio(peer, results.cell(model, threads, cell, OURS))
                yield Bar(group, _where(model, threads, cell), measured, at_least=bar, note=note)
            peer = best_peer(results, model, threads, MIXED)
            measured, note = ratio(peer, results.cell(model, threads, MIXED_ONE_CALL, OURS))
            what = _where(model, threads, MIXED_ONE_CALL) + ": the peer at its best batching"
            note = f"{note}, {peer['cell']}" if measured and peer else note
            yield Bar(group, what, measured, at_least=AHEAD_MIXED, note=note)


def two_threads(results: Results) -> Iterator[Bar]:
    if 2 not in _threads(results):
        return
    for model in _models(results):
        for cell in (*AHEAD, MIXED_ONE_CALL):
            measured, note = ratio(results.cell(model, 1, cell, OURS), results.cell(model, 2, cell, OURS))
            bar = TWO_THREADS_AT_16 if cell == "1x16" else TWO_THREADS
            note = "" if measured else NO_FIGURE
            yield Bar("Two threads over one", f"{model}, {cell}", measured, at_least=bar, note=note)


def spread(figure: Figure) -> float:
    """The farthest turn from the median, as a share of it."""
    return max(figure["high_ms"] - figure["ms"], figure["ms"] - figure["low_ms"]) / figure["ms"]


def batches(results: Results) -> Iterator[Bar]:
    """Time of the calls over that of the batch: at least 1, less the larger spread of the two, up to MOST_NOISE."""
    group = "A batch is never slower than the calls"
    for model in _models(results):
        for threads in _threads(results):
            eight, one, mixed, buckets, single = (
                results.cell(model, threads, cell, OURS)
                for cell in ("8x128", "1x128", MIXED_ONE_CALL, MIXED_BUCKETS, MIXED_SINGLE)
            )
            compared = [(eight, one, 8, "8x128 for eight times 1x128")]
            compared += [(mixed, calls, 1, f"{MIXED_ONE_CALL} for {name}")
                         for calls, name in ((buckets, MIXED_BUCKETS), (single, MIXED_SINGLE))]  # fmt: skip
            for batch, calls, count, what in compared:
                measured, noise, note = None, 0.0, NO_FIGURE
                if batch and calls:
                    measured = count * calls["ms"] / batch["ms"]
                    noise = min(MOST_NOISE, max(spread(batch), spread(calls)))
                    note = f"1 less {100 * noise:.1f} % of noise"
                yield Bar(group, _where(model, threads, what), measured, at_least=1 - noise, note=note)


def floats(results: Results) -> Iterator[Bar]:
    group = "`weight-only` and `float`, ahead of the best float peer"
    for model in _models(results):
        for threads in _threads(results):
            for cell in ("1x16", "1x128", MIXED_BUCKETS):
                peer = best_peer(results, model, threads, (cell,), "float")
                for ours in ("octobert-float", "octobert-weight-only"):
                    measured, note = ratio(peer, results.cell(model, threads, cell, ours))
                    yield Bar(group, f"{ours}: {_where(model, threads, cell)}", measured, FLOAT_AHEAD, note=note)


def held(results: Results) -> Iterator[Bar]:
    group = "Held to AVX2 (1 thread)"
    for model in _models(results):
        for cell in ("1x128", "8x128"):
            ours = results.cell(model, 1, cell, OURS, "avx2")
            share = results.share_of_peak(ours, *probe.EXACT_AVX2) if ours else None
            what = f"{model}, {cell}: share of the best exact chain's peak"
            yield Bar(group, what, share, at_least=AVX2_SHARE, unit="%", note="" if share else NO_FIGURE)
        for cell in ("1x16", "1x128", MIXED_BUCKETS):
            ours = results.cell(model, 1, cell, OURS, "avx2")
            for other, bar in (("octobert-float", AVX2_OVER_FLOAT), ("ctranslate2", AVX2_OVER_CTRANSLATE2),
                               ("openvino", AVX2_OVER_OPENVINO)):  # fmt: skip
                measured, note = ratio(results.cell(model, 1, cell, other, "avx2"), ours)
                note = note if measured is None else ""
                yield Bar(group, f"{model}, {cell}: {other} / octobert", measured, at_least=bar, note=note)
        if "avx_vnni" in results.data["machine"]["instruction_sets"]:
            ours = results.cell(model, 1, "1x128", OURS, "avx_vnni")
            share = results.share_of_peak(ours, "vpdpbusd_vex") if ours else None
            yield Bar("Held to AVX-VNNI", f"{model}, 1x128: share of its peak", share, AVX_VNNI_SHARE, unit="%",
                      note="" if share else NO_FIGURE)  # fmt: skip


def texts(results: Results) -> Iterator[Bar]:
    group = "Text to entities, tokenizer included"
    for model in [name for name in _models(results) if name != "bert-large"]:  # parts.TEXT_MODELS
        for threads in _threads(results):
            rows = [row for row in results.rows("texts", model=model, threads=threads) if "ms" in row]
            stream = [row for row in rows if row["what"] != "sentence"]
            ours = min((row for row in stream if row["engine"] == OURS), key=lambda row: row["ms"], default=None)
            peers = [row for row in stream if row["engine"] not in (OURS, "transformers-pipeline")]
            measured, note = ratio(min(peers, key=lambda row: row["ms"], default=None), ours)
            yield Bar(group, _where(model, threads, "stream of sentences"), measured, STREAM_AHEAD, note=note)
            sentence = {row["engine"]: row for row in rows if row["what"] == "sentence"}
            if model == "minilm" and threads == 1:
                measured, note = ratio(sentence.get("transformers-pipeline"), sentence.get(OURS))
                what = "minilm, one sentence of 27 tokens, over transformers.pipeline"
                yield Bar(group, what, measured, at_least=SENTENCE_AHEAD, note=note)


def tokenizers(results: Results) -> Iterator[Bar]:
    """octobert has no call for a batch of texts: its time, one text a call, is held against both of HuggingFace's."""
    group = "Tokenizer alone, offsets included, over HuggingFace's"
    measured_sets = results.data.get("tokenizers", [])
    for name, bar in TOKENIZER_AHEAD.items():
        many_scripts = name == "many scripts"
        found = next((one for one in measured_sets if (one["texts"] == MULTILINGUAL) == many_scripts), {})
        label = f"{name} ({found['texts']})" if found else name
        missing = NO_FIGURE if found or not measured_sets else "no such texts here (../shared)"
        rows = found.get("tokenizers", {})
        ours, reference = rows.get(OURS, {}), rows.get("HuggingFace tokenizers", {})
        for way in ("one text a call", "in batches"):
            mine = ours.get("seconds", {}).get("one text a call")
            theirs = reference.get("seconds", {}).get(way)
            measured = _median(theirs) / _median(mine) if mine and theirs else None
            note = "" if measured else ours.get("error", missing)
            what = f"{label}, HuggingFace's {way}" + (" (ours one by one)" if way == "in batches" else "")
            yield Bar(group, what, measured, at_least=bar, note=note)
        differ = ours.get("differ")
        what = f"{label}: texts that differ from the reference"
        yield Bar(group, what, differ, at_most=0, unit="texts", note="" if differ is not None else missing)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def start(results: Results) -> Iterator[Bar]:
    group = "Start and memory (1 thread)"
    for model in _models(results):
        row = next(iter(results.rows("start", model=model, engine=OURS)), {})
        note = "" if "memory" in row else row.get("error", NO_FIGURE)
        if model == "bert-base":
            first, opened = row.get("first_entity_s"), row.get("open_ms")
            first_ms = first * 1e3 if first is not None else None
            what = "bert-base: process start to first entity, 16 tokens"
            yield Bar(group, what, first_ms, at_most=FIRST_ENTITY_MS, unit="ms", note=note)
            yield Bar(group, "bert-base: engine open", opened, at_most=OPEN_MS, unit="ms", note=note)
        memory, file_mb = row.get("memory"), row.get("shipped_mb")
        resident = memory["resident"] - file_mb if memory and file_mb else None
        anonymous = memory["anonymous"] if memory else None
        what = f"{model}: resident memory over the file's size"
        yield Bar(group, what, resident, at_most=MEMORY_OVER_FILE_MB, unit="MB", note=note)
        yield Bar(group, f"{model}: anonymous memory", anonymous, at_most=ANONYMOUS_MB, unit="MB", note=note)


def conversions(results: Results) -> Iterator[Bar]:
    """The time is the conversion's alone: the check, which is the default, runs the float model beside it. Memory is
    that of whichever of the two needs more, held to 1.5 times the largest tensor and the output."""
    group = "`octobert convert` to `dynamic`, warm"
    if "bert-base" not in results.data["models"]:
        return
    row = next(iter(results.rows("conversions", model="bert-base")), {})
    note = row.get("error", NO_FIGURE)
    seconds, over, memory_note = None, None, note
    if "without_check" in row:
        ways = row["without_check"], row["with_check"]
        peak, output, largest = max(way["peak_mb"] for way in ways), row["output_mb"], row["largest_tensor_mb"]
        seconds, over = ways[0]["s"], (peak - output) / largest
        note = f"{ways[1]['s']:.2f} s with the check"
        memory_note = f"({peak:.0f} - {output:.0f}) / {largest:.0f} MB"
    yield Bar(group, "bert-base, without the check", seconds, at_most=CONVERT_S, unit="s", note=note)
    what = "bert-base: peak memory less the output, over the largest tensor"
    yield Bar(group, what, over, at_most=CONVERT_OVER_LARGEST_TENSOR, note=memory_note)


def sizes(results: Results) -> Iterator[Bar]:
    found = results.data["sizes"].get(OURS, {})
    note = found.get("error", "" if found else NO_FIGURE)
    for what, key, bar in (("runtime library", "libraries_mb", LIBRARY_MB), ("command", "package_mb", COMMAND_MB)):
        yield Bar("Size, stripped", what, found.get(key), at_most=bar, unit="MB", note=note)
