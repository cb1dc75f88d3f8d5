"""The Markdown of a run."""

from __future__ import annotations

from . import bars, engines, probe, tables
from .bars import Bar
from .results import Results

MOSTLY_LARGE = 0.8  # of a file that is read into pages of 2 MB, MiniLM's 24 MB have 94 % in them, BERT-base's 112 99 %


def markdown(results: Results) -> str:
    everything = bars.all_bars(results)
    parts = [
        _head(results),
        _failures(results),
        _bars_summary(everything),
        tables.ceilings(results),
        *(tables.against_peers(results, model) for model in results.data["models"]),
        *(tables.every_engine(results, model) for model in results.data["models"]),
        tables.held(results),
        tables.texts(results),
        tables.tokenizers(results),
        tables.accuracy(results),
        tables.start_and_memory(results),
        tables.conversions(results),
        tables.sizes(results),
        _bars_in_full(everything),
        _footnotes(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: Results) -> str:
    data, machine = results.data, results.data["machine"]
    cpu = f"{machine['cpu']} ({machine['cpu_model']}), {len(machine['cores'])} cores usable"
    versions = ", ".join(f"{engine} {version}" for engine, version in sorted(data["versions"].items()))
    lines = [
        "# octobert beside its peers",
        "",
        f"{data['date']}, {cpu}, {', '.join(machine['instruction_sets'])}, {machine['memory_gb']} GB, "
        f"{machine['system']}{', virtual machine' if machine['hypervisor'] else ''}.",
        "",
        f"`{data['command']}`" + (f" at commit {data['commit']}" if data.get("commit") else ""),
        "",
        f"Versions: {versions or 'none'}.",
        "",
        "Times are milliseconds: the median of the engine's turns in this run, in which all engines took turns cell by "
        "cell. A cell is texts x tokens; `mixed` is 32 texts of 9 to 46 tokens, 707 in all, in one call, in four "
        "calls of 8 sorted by length, or one by one. Work is counted on real tokens only: padding lowers a peer's "
        "GMAC/s.",
    ]
    if data.get("quick"):
        lines += ["", "**A quick run: few and short turns. Not for publication.**"]
    if any(row.get("disturbed") for row in (*data["cells"], *data["texts"])):
        lines += ["", "**`*`: something else used the machine in every turn of this figure: an upper bound.**"]
    return "\n".join(lines)


def _failures(results: Results) -> str:
    rows = [
        [row["engine"], row.get("model", ""), str(row.get("threads", "")), row["reason"].replace("|", "\\|")]
        for row in results.data["failures"]
    ]
    rows += [[what, "", "", why] for what, why in engines.LEFT_OUT.items()]
    return "## NOT MEASURED\n\n" + tables.table(["what", "model", "threads", "why"], rows)


def _bars_summary(everything: list[Bar]) -> str:
    rows = []
    for group in dict.fromkeys(bar.group for bar in everything):
        members = [bar for bar in everything if bar.group == group]
        missed = [bar for bar in members if bar.met is False]
        worst = min(missed, key=_distance, default=None)
        counts = [sum(bar.met is met for bar in members) for met in (True, False, None)]
        rows.append([group, *map(str, counts), f"{worst.what}: {_value(worst)}" if worst else ""])
    return "## Bars\n\n" + tables.table(["bar", "met", "missed", "no figure", "farthest from it"], rows)


def _distance(bar: Bar) -> float:
    """How far a missed bar is: the measured value relative to the bar, smallest farthest."""
    assert bar.measured is not None
    if bar.at_least is not None:
        return bar.measured / bar.at_least
    return (bar.at_most or 0) / max(bar.measured, 1e-9)


def _value(bar: Bar) -> str:
    if bar.measured is None:
        return "-"
    if bar.unit == "%":
        return f"{100 * bar.measured:.1f} %"
    if bar.unit == "texts":
        return f"{bar.measured:.0f}"
    return f"{bar.measured:.2f} {bar.unit}"


def _required(bar: Bar) -> str:
    sign, number = ("≥", bar.at_least) if bar.at_least is not None else ("≤", bar.at_most)
    assert number is not None
    return f"{sign} {100 * number:.0f} %" if bar.unit == "%" else f"{sign} {number:.3g} {bar.unit}"


def _bars_in_full(everything: list[Bar]) -> str:
    words = {True: "met", False: "**missed**", None: "no figure"}
    rows = [[bar.group, bar.what, _required(bar), _value(bar), words[bar.met], bar.note] for bar in everything]
    head = ["bar", "of", "required", "measured", "", "peer, or why there is none"]
    return "## Every bar\n\n" + tables.table(head, rows)


def _footnotes(results: Results) -> str:
    lines = [
        "- The exact ways to multiply 8-bit numbers with AVX2 that the probe knows, to whose best octobert is held: "
        f"{', '.join(probe.EXACT_AVX2)}."
    ]
    for engine, kernels in results.data["kernels"].items():
        escaped = [kernel for kernel in kernels if "avx512" in kernel]
        if engine.endswith("@avx2") and escaped:
            lines.append(
                f"- {engine} says that some operations still run with AVX-512 ({', '.join(escaped)}): its products are "
                "held, the rest of it is not. On a processor with AVX2 alone it is no faster than here."
            )
    return "## Notes\n\n" + "\n".join(lines + _pages_notes(results))


def _pages_notes(results: Results) -> list[str]:
    """Of octobert's models whose file did not lie in pages of 2 MB while they were timed."""
    turns: dict[tuple[str, str], list[float]] = {}
    for row in (*results.data["cells"], *results.data["texts"]):
        for pages in row.get("pages", []):
            share = pages.get("large", 0) / pages["resident"] if pages["resident"] else 1.0
            turns.setdefault((row["model"], row["engine"]), []).append(share)
    lines = []
    for (model, engine), found in turns.items():
        small = sum(share < MOSTLY_LARGE for share in found)
        if small:
            lines.append(
                f"- **{model}, {engine}: in {small} of {len(found)} turns the model's file was not mostly in pages of "
                f"2 MB (least: {100 * min(found):.0f} % of what was mapped).** Small pages make it slower, 1x16 most: "
                'see "Pages of 2 MB" in docs/PERFORMANCE.md.'
            )
    return lines
