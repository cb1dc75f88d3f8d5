"""The results of a run: one JSON file, written after every part so that an interrupted run is not lost, and looked up
by the bars and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import engines, probe

Figure = dict[str, Any]  # of turns.Figure.result(): "ms", "low_ms", "high_ms", "disturbed" … or "error"


class Results:
    """Sections are plain JSON; `path` is rewritten whole at each save."""

    def __init__(self, data: dict[str, Any], path: Path | None = None) -> None:
        self.data, self.path = data, path
        for section in ("cells", "loads", "accuracy", "texts", "start", "conversions", "failures"):
            data.setdefault(section, [])
        for section in ("models", "ceilings", "kernels", "versions", "sizes"):
            data.setdefault(section, {})

    @classmethod
    def read(cls, path: Path) -> Results:
        return cls(json.loads(path.read_text()), path)

    def save(self) -> None:
        assert self.path
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.data, indent=1) + "\n")
        unfinished.rename(self.path)

    # ---- look-ups; None where it was not measured ----
    def rows(self, section: str, **wanted: Any) -> list[Figure]:
        return [row for row in self.data[section] if all(row.get(key) == value for key, value in wanted.items())]

    def cell(self, model: str, threads: int, cell: str, engine: str, hold: str = "") -> Figure | None:
        rows = self.rows("cells", model=model, threads=threads, cell=cell, engine=engine, hold=hold)
        return rows[-1] if rows and "ms" in rows[-1] else None

    def peers(self, model: str, threads: int, cell: str, kind: str, hold: str = "") -> list[Figure]:
        """Fastest first; ours and graphs compiled for one shape left out."""
        rows = self.rows("cells", model=model, threads=threads, cell=cell, hold=hold)
        peers = [row for row in rows if "ms" in row and not _not_a_peer(row["engine"], kind)]
        return sorted(peers, key=lambda row: row["ms"])

    def ceiling(self, threads: int, *names: str) -> float | None:
        """The highest of the named cases."""
        cases = self.data["ceilings"].get(str(threads), {})
        found = [cases[name]["value"] for name in names if name in cases]
        return max(found) if found else None

    def gmac(self, model: str, cell: str) -> float:
        return self.data["models"][model]["cells"][cell]["gmac"]

    def share_of_peak(self, figure: Figure, *names: str) -> float | None:
        """Useful work per second over the ceiling, 0 to 1."""
        peak = self.ceiling(figure["threads"], *(names or probe.VNNI))
        return self.gmac(figure["model"], figure["cell"]) / (figure["ms"] / 1e3) / peak if peak else None

    def share_of_roofline(self, figure: Figure) -> float | None:
        """The same over the larger of arithmetic's time and the time to stream the weights once."""
        threads, model = figure["threads"], self.data["models"][figure["model"]]
        peak = self.ceiling(threads, *probe.VNNI)
        bandwidth = self.ceiling(threads, f"stream_{model['stream_mb']}MB")
        if peak is None or bandwidth is None:
            return None
        arithmetic = self.gmac(figure["model"], figure["cell"]) / peak
        streaming = model["encoder_weights"] / 1e9 / bandwidth
        return max(arithmetic, streaming) / (figure["ms"] / 1e3)


def _not_a_peer(engine: str, kind: str) -> bool:
    known = engines.make(engine)
    return known.ours or known.kind != kind or not known.any_shape
