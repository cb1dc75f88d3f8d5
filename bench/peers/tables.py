"""The report's tables."""

from __future__ import annotations

import statistics
from typing import Iterable

from . import bars, cells, engines
from .results import Figure, Results


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _ms(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if "ms" not in figure:
        return "failed"
    digits = 3 if figure["ms"] < 1 else 2 if figure["ms"] < 100 else 1
    return f"{figure['ms']:.{digits}f}{'*' if figure['disturbed'] else ''}"


def _with_spread(figure: Figure | None) -> str:
    if figure is None or "ms" not in figure:
        return _ms(figure)
    return f"{_ms(figure)} ± {100 * bars.spread(figure):.0f} %"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _cells_measured(results: Results, model: str) -> list[str]:
    measured = {row["cell"] for row in results.rows("cells", model=model)}
    return [name for name in cells.CELL_NAMES if name in measured]


def _threads(results: Results) -> list[int]:
    return sorted({row["threads"] for row in results.data["cells"]})


def ceilings(results: Results) -> str:
    found = results.data["ceilings"]
    if not found:
        return f"## Ceilings\n\n**None: {results.data.get('ceilings_error') or 'the probe did not run'}.**"
    names = list(dict.fromkeys(name for cases in found.values() for name in cases))
    rows = []
    for name in names:
        values = [f"{cases[name]['value']:.1f}" if name in cases else "-" for cases in found.values()]
        unit = next(cases[name]["unit"] for cases in found.values() if name in cases)
        rows.append([name, unit, *values])
    head = ["from registers alone; memory read in a row", "", *(f"{threads} thr." for threads in found)]
    return "## Ceilings (best trial of this run)\n\n" + table(head, rows)


def against_peers(results: Results, model: str) -> str:
    """octobert against the fastest peers, cell by cell."""
    rows = []
    for threads in _threads(results):
        for cell in _cells_measured(results, model):
            ours = results.cell(model, threads, cell, bars.OURS)
            peers = results.peers(model, threads, cell, "int8")
            if ours is None and not peers:
                continue
            fixed = results.cell(model, threads, cell, "openvino-fixed")
            best = peers[0] if peers else None
            ratio = f"**{best['ms'] / ours['ms']:.2f} ×**" if ours and best else "-"
            share = _percent(results.share_of_peak(ours)) if ours else "-"
            others = ", ".join(f"{peer['engine']} {_ms(peer)}" for peer in peers[1:4])
            best_text = f"{best['engine']} {_with_spread(best)}" if best else "-"
            best_share = _percent(results.share_of_peak(best)) if best else "-"
            fixed_text = f"({_ms(fixed)})" if fixed else "-"
            mine = [_with_spread(ours), share]
            rows.append([str(threads), cell, *mine, best_text, best_share, ratio, fixed_text, others])
    if not rows:
        return ""
    head = ["thr.", "cell", "octobert", "of peak", "best peer", "of peak", "ahead", "(openvino-fixed)", "next peers"]
    return f"## {model}: int8, ms\n\n" + table(head, rows)


def every_engine(results: Results, model: str) -> str:
    """All modes and cells, the float ones too."""
    names = _cells_measured(results, model)
    parts = []
    for threads in _threads(results):
        rows = []
        measured = results.rows("cells", model=model, threads=threads, hold="")
        for engine in dict.fromkeys(row["engine"] for row in measured):
            figures = [results.cell(model, threads, cell, engine) for cell in names]
            loads = results.rows("loads", model=model, threads=threads, hold="", engine=engine)
            load = f"{loads[-1]['load_s']:.2f}" if loads else "-"
            rows.append([engine, engines.make(engine).kind, load, *map(_ms, figures)])
        if rows:
            title = f"### {model}, {threads} thread{'s' if threads > 1 else ''}: every engine, ms"
            parts.append(f"{title}\n\n" + table(["engine", "", "load, s", *names], rows))
    return "\n\n".join(parts)


def held(results: Results) -> str:
    rows = []
    for row in results.data["cells"]:
        if not row["hold"]:
            continue
        free = results.cell(row["model"], row["threads"], row["cell"], row["engine"])
        slower = f"{row['ms'] / free['ms']:.2f} ×" if free and "ms" in row else "-"
        text = _with_spread(row) if "ms" in row else f"failed: {row['error']}"
        rows.append([row["model"], str(row["threads"]), row["cell"], f"{row['engine']}@{row['hold']}", text, slower])
    if not rows:
        return ""
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    head = ["model", "thr.", "cell", "engine", "ms", "over its own best"]
    return "## Held to an instruction set\n\n" + table(head, rows)


def texts(results: Results) -> str:
    rows = []
    for row in results.data["texts"]:
        count = results.data.get("stream", {}).get("sentences")
        rate = f"{count / row['ms'] * 1e3:.0f}" if "ms" in row and row["what"] != "sentence" and count else "-"
        text = _with_spread(row) if "ms" in row else f"failed: {row['error']}"
        rows.append([row["model"], str(row["threads"]), row["what"], row["engine"], text, rate])
    if not rows:
        return ""
    stream = results.data.get("stream", {})
    head = ["model", "thr.", "handed over", "engine", "ms", "texts/s"]
    intro = (
        f"A stream of {stream.get('sentences')} sentences ({stream.get('tokens')} tokens), one by one or as many at a "
        "time as the column says; `sentence` is one text of 27 tokens. Peers behind HuggingFace's tokenizers (Rust), "
        "called from Python; octobert through its library."
    )
    return f"## Text to entities\n\n{intro}\n\n" + table(head, rows)


def tokenizers(results: Results) -> str:
    parts = []
    for measured in results.data.get("tokenizers", []):
        reference = measured["tokenizers"].get("HuggingFace tokenizers", {}).get("seconds", {}).get("one text a call")
        rows = []
        for name, row in measured["tokenizers"].items():
            for way, seconds in row.get("seconds", {"": []}).items():
                if not seconds:
                    rows.append([name, f"**failed: {row.get('error', '')}**", "", "", "", ""])
                    continue
                median = statistics.median(seconds)
                speed = [f"{measured['mb'] / median:.2f}", f"{measured['tokens'] / median / 1e6:.2f}"]
                ratio = f"{statistics.median(reference) / median:.1f} ×" if reference else "-"
                rows.append([name, way, *speed, ratio, str(row["differ"])])
        title = f"### {measured['texts']}: {measured['count']} texts, {measured['mb']:.2f} MB"
        head = ["tokenizer", "", "MB/s", "M tokens/s", "over HuggingFace, one text a call", "texts that differ"]
        parts.append(f"{title}\n\n" + table(head, rows))
    intro = (
        "The peers called from Python, octobert through its library. With offsets unless it says without. octobert has "
        "no call for a batch of texts: one text a call, again and again, is what stands beside the others' batches."
    )
    return f"## Tokenizers alone, one core\n\n{intro}\n\n" + "\n\n".join(parts) if parts else ""


def accuracy(results: Results) -> str:
    rows = []
    for row in results.data["accuracy"]:
        if "error" in row:
            rows.append([row["model"], row["engine"], row["cell"], f"**failed: {row['error']}**", "", "", "", ""])
            continue
        cosines = [f"{row['cosine_mean']:.6f}", f"{row['cosine_min']:.5f}"]
        error = f"{row['max_error']:.3g} of {row['max_logit']:.3g}"
        sqnr = "exact" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
        values = [sqnr, *cosines, error, f"{100 * row['label_agreement']:.2f} %"]
        rows.append([row["model"], row["engine"], row["cell"], *values])
    if not rows:
        return ""
    head = ["model", "engine", "cell", "SQNR dB", "mean cosine", "worst cosine", "largest error", "same label"]
    intro = "Logits against transformers' in fp32, each text by itself. The checkpoints but `minilm` are random."
    return f"## Accuracy\n\n{intro}\n\n" + table(head, rows)


def start_and_memory(results: Results) -> str:
    rows = []
    for row in results.data["start"]:
        if "error" in row:
            rows.append([row["model"], row["engine"], f"**failed: {row['error']}**", "", "", "", ""])
            continue
        memory = row["memory"]
        opened = f"{row['load_s']:.2f} s" if "load_s" in row else "-"
        opened = f"{row['open_ms']:.2f} ms" if "open_ms" in row else opened
        held = [f"{memory[key]:.0f}" for key in ("resident", "anonymous", "peak")]
        first, shipped = f"{row['first_entity_s']:.3f}", f"{row['shipped_mb']:.1f}"
        rows.append([row["model"], row["engine"], first, opened, *held, shipped])
    if not rows:
        return ""
    head = ["model", "engine", "to first entity, s", "load", "resident MB", "anonymous MB", "peak MB", "model file MB"]
    intro = (
        "16 tokens, one thread, files in the page cache; memory after a text of 128 tokens. Peers start Python too; "
        "their load is the import and the model's, octobert's is the file that it opens."
    )
    return f"## Start and memory\n\n{intro}\n\n" + table(head, rows)


def conversions(results: Results) -> str:
    rows = []
    for row in results.data["conversions"]:
        if "error" in row:
            rows.append([row["model"], "", f"**failed: {row['error']}**", "", "", ""])
            continue
        for way, name in (("without_check", "the conversion alone"), ("with_check", "with the check (the default)")):
            found = row[way]
            seconds = f"{found['s']:.2f} ({found['low_s']:.2f} to {found['high_s']:.2f})"
            sizes_mb = [f"{row[key]:.1f}" for key in ("largest_tensor_mb", "output_mb")]
            rows.append([row["model"], name, seconds, f"{found['peak_mb']:.1f}", *sizes_mb])
    head = ["model", "", "s", "peak MB", "largest tensor MB", "output MB"]
    intro = "`octobert convert` to `dynamic`, all cores, the checkpoint in the page cache, the output on the disk."
    return f"## Converter\n\n{intro}\n\n" + table(head, rows) if rows else ""


def sizes(results: Results) -> str:
    rows = []
    for engine, row in results.data["sizes"].items():
        if "error" in row:
            rows.append([engine, f"**failed: {row['error']}**", "", ""])
            continue
        keys = ("libraries_mb", "package_mb", "with_dependencies_mb")
        rows.append([engine, *(f"{row[key]:.1f}" if key in row else "-" for key in keys)])
    head = ["", "shared libraries", "whole package", "with what pip installs for it"]
    note = "octobert: the stripped runtime library, and the command. No peer's line has a tokenizer: see the last one."
    return f"## Installed size, MB\n\n{note}\n\n" + table(head, rows) if rows else ""
