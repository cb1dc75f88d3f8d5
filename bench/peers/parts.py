"""The parts of a run. Each measures one thing on one model, and adds its rows to the results."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

from . import artefacts, bars, cells, engines, entities, machine, sizes, startup
from .engines import octobert
from .models import Model
from .probe import Ceilings, stream_mb
from .results import Results
from .turns import Worker, WorkerFailed, interleave


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asked for."""

    work: Path
    build: Path
    models: tuple[str, ...]
    threads: tuple[int, ...]
    cells: tuple[str, ...]
    engines: tuple[str, ...]
    parts: tuple[str, ...]
    rounds: int
    seconds: float
    quick: bool
    with_octobert: bool

    def chosen(self, names: tuple[str, ...]) -> list[str]:
        """Those of `names` that are to be measured."""
        return [name for name in names if name in self.engines and (self.with_octobert or not is_ours(name))]


# Cells of the engines that are held to an instruction set and of the float ones: enough to compare by.
FLOAT_CELLS = ("1x16", "1x128", cells.MIXED_BUCKETS)
HELD_CELLS = ("1x16", "1x64", "1x128", "8x128", cells.MIXED_BUCKETS)
# Long turns that only have to show a clear lead: fewer of them.
FEWER_ROUNDS = 3
PIPELINE = "transformers-pipeline"
TEXT_MODELS = ("bert-base", "minilm")
ACCURACY_CELLS = ("1x128", cells.MIXED_BUCKETS)


def is_ours(name: str) -> bool:
    return engines.make(name).ours


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(results: Results, engine: str, reason: str, **where: Any) -> None:
    say(f"  NOT MEASURED: {engine} {where or ''}: {reason}")
    row = {"engine": engine, "reason": reason, **where}
    if row not in results.data["failures"]:
        results.data["failures"].append(row)


def describe_model(model: Model, settings: Settings, results: Results) -> None:
    """The numbers that the report needs: work by cell, bytes that stream."""
    directory = artefacts.folder(model, settings.work) / "cells"
    described = {}
    for name in cells.CELL_NAMES:
        cell = cells.read_cell(directory, name)
        described[name] = {"tokens": cell.tokens, "gmac": model.gmac(cell.sequences)}
    results.data["models"][model.name] = {
        "cells": described,
        "encoder_weights": model.encoder_weights,
        "stream_mb": stream_mb(model),
    }


Skip = Callable[[Worker], bool]


class Crew:
    """Workers of several engines, loaded one after the other, on one model and number of threads."""

    def __init__(self, names: list[str], model: Model, threads: int, hold: str, settings: Settings, results: Results):
        self.model, self.threads, self.hold, self.settings, self.results = model, threads, hold, settings, results
        self.workers: list[Worker] = []
        for name in names:
            self.hire(name)

    def hire(self, name: str) -> None:
        worker = Worker(name, self.model, self.settings.work, self.threads, self.hold)
        try:
            answer = worker.ask("load")
            if "error" in answer:
                raise WorkerFailed(answer["error"])
        except WorkerFailed as error:
            worker.close()
            self._fail(worker, f"load: {error}")
            return
        self.results.data["versions"][name] = answer["version"]
        where = {"model": self.model.name, "threads": self.threads, "hold": self.hold}
        if not is_ours(name):  # ours opens its file at each turn
            self.results.data["loads"].append({**where, "engine": name, "load_s": answer["load_s"]})
        worker.pause()
        self.workers.append(worker)

    def _fail(self, worker: Worker, reason: str) -> None:
        fail(self.results, worker.name, reason, model=self.model.name, threads=self.threads)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()

    def ask_all(
        self, section: str, key: str, requests: dict[str, dict], rounds: int, without: Skip | None = None
    ) -> None:
        """Takes turns; a row a request and engine goes to `section`, with the request's title under `key`."""
        taking_part = [worker for worker in self.workers if not (without and without(worker))]

        def record(title: str, figures: dict[str, dict]) -> None:
            for worker in taking_part:
                figure = figures[worker.name]
                where = {"model": self.model.name, "threads": self.threads, "hold": self.hold}
                self.results.data[section].append({**where, key: title, "engine": worker.engine, **figure})
                if "error" in figure:
                    self._fail(worker, f"{title}: {figure['error']}")
            self._say_progress(title, figures)
            self.results.save()

        interleave(taking_part, requests, rounds, record)

    def _say_progress(self, title: str, figures: dict[str, dict]) -> None:
        ordered = sorted(figures.items(), key=lambda item: item[1].get("ms", float("inf")))
        listed = (f"{name} {figure['ms']:.2f}{'*' * figure['disturbed']}" for name, figure in ordered if "ms" in figure)
        say(f"  {self.model.name} {self.threads}t {title}: {', '.join(listed)}")

    def measure_cells(self, names: tuple[str, ...], rounds: int) -> None:
        wanted = [name for name in names if name in self.settings.cells]
        self.ask_all("cells", "cell", {name: _timed("time", self.settings, cell=name) for name in wanted}, rounds)

    def measure_texts(self, rounds: int) -> None:
        """The stream for the engines of any shape, in every batching; the sentence for transformers.pipeline too."""
        self.hire(PIPELINE)
        streams = {batching: _timed("stream", self.settings, batching=batching) for batching in entities.BATCHINGS}
        self.ask_all("texts", "what", streams, rounds, lambda worker: worker.engine == PIPELINE or _fixed(worker))
        self.ask_all("texts", "what", {"sentence": _timed("sentence", self.settings)}, self.settings.rounds, _fixed)

    def measure_accuracy(self) -> None:
        """Logits do not depend on how often they are computed: no turns."""
        known = {(row["model"], row["engine"]) for row in self.results.data["accuracy"]}
        for worker in self.workers:
            if (self.model.name, worker.name) in known:
                continue
            for cell in ACCURACY_CELLS:
                row = {"model": self.model.name, "engine": worker.name, "cell": cell}
                self.results.data["accuracy"].append({**row, **self._ask(worker, "logits", cell=cell)})
            self.results.data["kernels"][worker.name] = self._ask(worker, "kernels").get("kernels", {})

    def _ask(self, worker: Worker, do: str, **request: Any) -> dict:
        """The answer; a failure becomes {"error": ...} and a line of the report."""
        try:
            answer = worker.ask(do, **request)
        except WorkerFailed as error:
            answer = {"error": str(error)}
        worker.pause()
        if "error" in answer:
            self._fail(worker, f"{do}: {answer['error']}")
        return answer


def _timed(do: str, settings: Settings, **request: Any) -> dict:
    return {"do": do, "seconds": settings.seconds, **request}


def measure_int8(model: Model, threads: int, settings: Settings, results: Results) -> None:
    """Cells, accuracy and text to entities: one loading of the workers serves all three."""
    with Crew(settings.chosen(engines.INT8), model, threads, "", settings, results) as crew:
        if "cells" in settings.parts:
            crew.measure_cells(settings.cells, settings.rounds)
            crew.measure_accuracy()
        if "text" in settings.parts and model.name in TEXT_MODELS:
            crew.measure_texts(min(FEWER_ROUNDS, settings.rounds))


def _fixed(worker: Worker) -> bool:
    return not engines.make(worker.engine).any_shape


def measure_float(model: Model, threads: int, settings: Settings, results: Results) -> None:
    with Crew(settings.chosen(engines.FLOAT), model, threads, "", settings, results) as crew:
        crew.measure_cells(FLOAT_CELLS, min(FEWER_ROUNDS, settings.rounds))
        crew.measure_accuracy()


def measure_held(model: Model, settings: Settings, results: Results) -> None:
    """One thread: what an instruction set is worth does not depend on how many cores have it."""
    for hold, names in engines.HELD.items():
        if hold not in machine.cpu_flags():
            fail(results, f"everything held to {hold}", "this processor does not have it")
            continue
        with Crew(settings.chosen(names), model, 1, hold, settings, results) as crew:
            crew.measure_cells(HELD_CELLS, settings.rounds)
            crew.measure_accuracy()


def measure_start(model: Model, settings: Settings, results: Results) -> None:
    for name in settings.chosen(engines.INT8):
        engine = engines.make(name)
        row = startup.measure(name, model, settings.work, 1 if settings.quick else 3)
        directory = artefacts.folder(model, settings.work) / engine.artefact
        row["shipped_mb"] = engine.shipped_bytes(model, directory) / 1e6
        if engine.ours and "error" not in row:
            path = directory / "model.octo"
            row["open_ms"] = octobert.run_text_probe(path, 1, "open", "", settings.seconds)["median_ms"]
        if "error" in row:
            fail(results, name, f"start: {row['error']}", model=model.name)
        results.data["start"].append({"model": model.name, "engine": name, **row})
        say(f"  {model.name} start: {name} {row.get('first_entity_s', float('nan')):.3f} s")
        results.save()


def measure_conversion(model: Model, settings: Settings, results: Results) -> None:
    rounds = 1 if settings.quick else 3
    arguments = [str(rounds), str(octobert.binary()), str(model.checkpoint), str(settings.work)]
    done = subprocess.run([sys.executable, "-m", "peers.conversion", *arguments], capture_output=True, text=True)
    row = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-300:]}
    results.data["conversions"].append({"model": model.name, **row})
    if "error" in row:
        fail(results, bars.OURS, f"convert: {row['error']}", model=model.name)
    results.save()


def measure_tokenizers(model: Model, settings: Settings, results: Results) -> None:
    ours = artefacts.folder(model, settings.work) / octobert.artefact("dynamic") / "model.octo"
    rounds, limit = (1, 2000) if settings.quick else (settings.rounds, 0)
    command = [sys.executable, "-m", "peers.tokenizer_bench", str(rounds), str(limit)]
    done = subprocess.run([*command, str(ours) if settings.with_octobert else ""], capture_output=True, text=True)
    if done.returncode != 0:
        fail(results, "tokenizers", done.stderr.strip()[-300:])
        return
    results.data["tokenizers"] = json.loads(done.stdout)
    for measured in results.data["tokenizers"]:
        for name, row in measured["tokenizers"].items():
            if "error" in row:
                fail(results, f"{name} (tokenizer)", f"{measured['texts']}: {row['error']}")
    results.save()


def measure_sizes(settings: Settings, results: Results) -> None:
    found = results.data["sizes"]
    packages = {engines.make(name).distributions for name in engines.INT8 if not is_ours(name)}
    for names in sorted(packages) + [("tokenizers",)]:
        found[" + ".join(names)] = sizes.python_packages(names)
    if settings.with_octobert:
        try:
            found["octobert"] = sizes.octobert(settings.build)
        except (OSError, subprocess.CalledProcessError) as error:
            found["octobert"] = {"error": str(error)}
            fail(results, "octobert", f"size: {error}")
    results.save()


def measure_model(model: Model, settings: Settings, results: Results) -> None:
    everything = {*engines.INT8, *engines.FLOAT, *(name for names in engines.HELD.values() for name in names)}
    wanted = settings.chosen(tuple(name for name in engines.NAMES if name in everything))
    for name, reason in artefacts.make(model, wanted, settings.work).items():
        fail(results, name, reason, model=model.name)
    describe_model(model, settings, results)
    ceilings = Ceilings(settings.build, settings.quick, results.data["ceilings"])
    for threads in settings.threads:
        ceilings.measure(threads, model)
        if {"cells", "text"} & set(settings.parts):
            measure_int8(model, threads, settings, results)
        if "float" in settings.parts:
            measure_float(model, threads, settings, results)
        ceilings.measure(threads, model)
    if "held" in settings.parts:
        measure_held(model, settings, results)
    if "start" in settings.parts:
        measure_start(model, settings, results)
    if "convert" in settings.parts and settings.with_octobert:
        measure_conversion(model, settings, results)
    if ceilings.error:
        results.data["ceilings_error"] = ceilings.error
        fail(results, "ceilings", ceilings.error)
    results.save()


def set_build(build: Path) -> None:
    os.environ[octobert.BUILD_VARIABLE] = str(build)
