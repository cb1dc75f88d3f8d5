"""A peer's own process. Reads one JSON request a line from standard input, answers one JSON line each.

    {"do": "load"}                                -> version, seconds of the import and the load
    {"do": "time", "cell": "1x128", "seconds": X} -> median_ms; octobert's also: pages of its file
    {"do": "logits", "cell": "1x128"}             -> accuracy against the float reference
    {"do": "stream", "batching": "8", "seconds"}  -> the same for one pass over the stream of sentences
    {"do": "sentence", "seconds": X}              -> the same for one text of 27 tokens
    {"do": "first"}                               -> entities of one text of 16 tokens, after "load"
    {"do": "memory"}                              -> resident memory after a text of 128 tokens
    {"do": "kernels"}                             -> the implementations that it says it runs

A request that fails is answered with {"error": ...}; the process goes on.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from . import cells, engines, entities, machine, models, texts


class Worker:
    def __init__(self, engine_name: str, model: models.Model, work: Path, threads: int) -> None:
        self.engine = engines.make(engine_name)
        self.model, self.work, self.threads = model, work, threads
        self.folder = work / "models" / model.name
        self.streams: dict[str, list[list[str]]] = {}
        self.pipeline: Any = None

    def do_load(self, request: dict) -> dict:
        before = time.perf_counter()
        self.engine.load(self.model, self.folder / self.engine.artefact, self.threads)
        seconds = time.perf_counter() - before
        return {"version": self.engine.version(), "load_s": seconds}

    def do_time(self, request: dict) -> dict:
        return self.engine.time_cell(self._cell(request), request["seconds"])

    def do_logits(self, request: dict) -> dict:
        from . import accuracy, artefacts  # not needed, and not to be waited for, at the first entity

        reference = artefacts.read_reference(self.model, self.work, request["cell"])
        return accuracy.compare(self.engine.cell_logits(self._cell(request)), reference)

    def do_stream(self, request: dict) -> dict:
        batching = request["batching"]
        first = batching not in self.streams
        if first:
            self.streams[batching] = entities.batches(texts.stream(), batching)
        return self._pipeline().time(self.streams[batching], request["seconds"], first)

    def do_sentence(self, request: dict) -> dict:
        return self._pipeline().time([[texts.SENTENCE_27]], request["seconds"], first_turn=True)

    def do_first(self, request: dict) -> dict:
        return {"entities": self._pipeline().call([texts.SENTENCE_16])[0]}

    def do_memory(self, request: dict) -> dict:
        self._pipeline().call([texts.text_of_128_tokens()])
        return {"memory": machine.memory_mb()}

    def do_kernels(self, request: dict) -> dict:
        return {"kernels": self.engine.kernels()}

    def _cell(self, request: dict) -> cells.Cell:
        return cells.read_cell(self.folder / "cells", request["cell"])

    def _pipeline(self):
        if self.pipeline is None:
            self.pipeline = self.engine.text_pipeline(self.model)
        return self.pipeline


def serve(worker: Worker, requests, answers) -> None:
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, "do_" + request["do"])(request)
        except Exception as error:  # one peer's failure is a row of the report, not the end of the run
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def die_with_parent() -> None:
    """A stopped process outlives a conductor that is killed; the system kills this one instead."""
    pr_set_pdeathsig = 1  # <sys/prctl.h>
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    engine_name, model_name, checkpoint, work, threads = sys.argv[1:]
    die_with_parent()
    # Libraries print to standard output; the answers keep a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model = models.open_model(model_name, Path(checkpoint))
    serve(Worker(engine_name, model, Path(work), int(threads)), sys.stdin, answers)
    answers.flush()
    os._exit(0)  # some libraries take seconds, or crash, when they are unloaded


if __name__ == "__main__":
    main()
