"""bench/peers on made-up results: which bars are met, missed or without a figure, what the report says, and that a
wrong argument ends before anything is installed. No engine is run.

Run by ctest; python3, standard library.
"""
import json
import mmap
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
sys.modules["numpy"] = None  # an import of it fails: results are read, and arguments checked, with plain Python
from peers import bars, conversion, machine, report  # noqa: E402
from peers.results import Results  # noqa: E402
from peers.turns import Figure  # noqa: E402

MODEL, OURS, PEER = "bert-base", "octobert", "openvino"
CELLS = ("1x16", "1x64", "1x128", "1x384", "1x512", "8x128", "mixed/1 call", "mixed/buckets", "mixed/single")
GMAC = {cell: 10.0 for cell in CELLS}


def cell_row(engine, cell, ms, threads=1, hold="", spread=0.0, **more):
    return {"model": MODEL, "threads": threads, "hold": hold, "cell": cell, "engine": engine, "ms": ms,
            "low_ms": ms * (1 - spread), "high_ms": ms * (1 + spread), "disturbed": False, **more}


def results_of(*rows, **sections):
    """Of a run on BERT-base; `rows` are of its cells."""
    described = {cell: {"tokens": 100, "gmac": gmac} for cell, gmac in GMAC.items()}
    return Results({
        "date": "2026-01-01", "command": "bench/peers/run.sh", "cells": list(rows),
        "machine": {"cpu": "some", "cpu_model": "", "cores": [0], "instruction_sets": ["avx2"], "memory_gb": 1,
                    "system": "Linux", "hypervisor": False},
        "models": {MODEL: {"cells": described, "encoder_weights": 85_000_000, "stream_mb": 85}}, **sections,
    })  # fmt: skip


def tokenizer_set(texts, ours, one, batch, differ=0):
    return {"texts": texts, "count": 9, "mb": 1.0, "tokens": 9, "tokenizers": {
        "HuggingFace tokenizers": {"differ": 0, "seconds": {"one text a call": [one], "in batches": [batch]}},
        OURS: {"differ": differ, "seconds": {"one text a call": [ours]}}}}  # fmt: skip


class Bars(unittest.TestCase):
    def bars(self, results, group, what=""):
        found = [bar for bar in bars.all_bars(results) if group in bar.group and what in bar.what]
        self.assertTrue(found, f"no bar {group} {what}")
        return found

    def bar(self, results, group, what):
        found = self.bars(results, group, what)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_without_figures_none_is_met_or_missed(self):
        for bar in bars.all_bars(results_of()):
            self.assertIsNone(bar.met, bar)
            self.assertTrue(bar.note, bar)

    def test_share_of_peak(self):
        ceilings = {"1": {"vpdpbusd_512": {"value": 100.0, "unit": "GMAC/s"}}}
        for ms, met in ((115, True), (118, False)):  # 10 GMAC at 100 GMAC/s: 100 ms; 86 % are 116.3
            results = results_of(cell_row(OURS, "1x128", ms), ceilings=ceilings)
            self.assertEqual(self.bar(results, "share of the VNNI peak", "1x128").met, met)
        self.assertIsNone(self.bar(results_of(cell_row(OURS, "1x128", 1)), "VNNI peak", "1x128").met, "no ceilings")

    def test_ahead_of_the_best_peer(self):
        fixed = cell_row("openvino-fixed", "1x128", 1)  # for one shape: carries no bar
        for peer, met in ((126, True), (124, False)):
            results = results_of(cell_row(OURS, "1x128", 100), cell_row(PEER, "1x128", peer),
                                 cell_row("pytorch", "1x128", 999), fixed)  # fmt: skip
            bar = self.bar(results, "Ahead", "1x128")
            self.assertEqual((bar.met, bar.note), (met, PEER))
            self.assertAlmostEqual(bar.measured, peer / 100)
        self.assertEqual(self.bar(results_of(cell_row(OURS, "1x128", 1)), "Ahead", "1x128").note, bars.NO_PEER)
        failed = {**cell_row(PEER, "1x128", 1), "error": "gone"}
        del failed["ms"]
        self.assertIsNone(self.bar(results_of(cell_row(OURS, "1x128", 1), failed), "Ahead", "1x128").met)

    def test_two_threads(self):
        for two, met in ((52, True), (54, False)):
            results = results_of(cell_row(OURS, "1x128", 100), cell_row(OURS, "1x128", two, threads=2))
            self.assertEqual(self.bar(results, "Two threads", "1x128").met, met)

    def test_a_batch_is_not_slower_than_the_calls(self):
        for eight, met in ((799, True), (800, True), (801, False)):
            results = results_of(cell_row(OURS, "1x128", 100), cell_row(OURS, "8x128", eight))
            self.assertEqual(self.bar(results, "A batch", "8x128").met, met)
        results = results_of(*(cell_row(OURS, cell, ms, threads) for threads in (1, 2) for cell, ms in
                               (("mixed/1 call", 100), ("mixed/buckets", 99), ("mixed/single", 120))))  # fmt: skip
        self.assertEqual([bar.met for bar in self.bars(results, "A batch", "for mixed")], [False, True] * 2)

    def test_a_batch_s_noise_is_allowed_for_but_not_all_of_it(self):
        def met(eight, spread):
            results = results_of(cell_row(OURS, "1x128", 100, spread=spread), cell_row(OURS, "8x128", eight))
            return self.bar(results, "A batch", "8x128").met

        self.assertFalse(met(816, 0.01))
        self.assertTrue(met(816, 0.03))
        self.assertFalse(met(900, 0.50), "a noisy run does not meet every bar")

    def test_held_to_avx2_level_with_ctranslate2(self):
        for ours, met in ((100, True), (101, False)):
            results = results_of(cell_row(OURS, "1x128", ours, hold="avx2"),
                                 cell_row("ctranslate2", "1x128", 100, hold="avx2"))  # fmt: skip
            self.assertEqual(self.bar(results, "AVX2", "1x128: ctranslate2").met, met)

    def test_tokenizers(self):
        both = [tokenizer_set("english/train.tsv", 1, 21, 19), tokenizer_set("data/text", 1, 13, 11, differ=2)]
        results = results_of(tokenizers=both)
        for name, differ in (("English", True), ("many scripts", False)):
            found = self.bars(results, "Tokenizer", name)
            self.assertEqual([bar.met for bar in found], [True, False, differ], found)

    def test_a_missing_set_of_texts_is_a_bar_without_a_figure(self):
        for kept, lost in (("English", "many scripts"), ("many scripts", "English")):
            texts = "data/text" if kept == "many scripts" else "data/ner/E1.tsv and E2.tsv (no ../shared)"
            results = results_of(tokenizers=[tokenizer_set(texts, 1, 100, 100)])
            self.assertEqual([bar.met for bar in self.bars(results, "Tokenizer", kept)], [True] * 3)
            for bar in self.bars(results, "Tokenizer", lost):
                self.assertIsNone(bar.met)
                self.assertIn("../shared", bar.note)

    def test_start(self):
        memory = {"resident": 120.0, "anonymous": 13.0, "peak": 120.0}
        row = {"model": MODEL, "engine": OURS, "first_entity_s": 0.03, "open_ms": 6.0, "shipped_mb": 112.0}
        results = results_of(start=[{**row, "memory": memory}])
        found = {bar.what.partition(": ")[2]: bar.met for bar in self.bars(results, "Start")}
        self.assertEqual(list(found.values()), [True, False, True, False], found)

    def test_conversion(self):
        def row(alone, checked, peak):
            return {"model": MODEL, "largest_tensor_mb": 90.0, "output_mb": 110.0,
                    "without_check": {"s": alone, "low_s": alone, "high_s": alone, "peak_mb": 60.0},
                    "with_check": {"s": checked, "low_s": checked, "high_s": checked, "peak_mb": peak}}  # fmt: skip

        for alone, peak, met in ((1.9, 244, [True, True]), (2.1, 246, [False, False]), (1.0, 50, [True, True])):
            found = self.bars(results_of(conversions=[row(alone, 9.0, peak)]), "convert")
            self.assertEqual([bar.met for bar in found], met, found)
            self.assertIn("9.00 s with the check", found[0].note)
        failed = self.bars(results_of(conversions=[{"model": MODEL, "error": "no space"}]), "convert")
        self.assertEqual([(bar.met, bar.note) for bar in failed], [(None, "no space")] * 2)


class Report(unittest.TestCase):
    def test_counts_of_bars(self):
        rows = [cell_row(engine, cell, ms) for cell in ("1x16", "1x64") for engine, ms in ((OURS, 10), (PEER, 13))]
        text = report.markdown(results_of(*rows))
        line = next(line for line in text.splitlines() if line.startswith("| Ahead of the best peer"))
        self.assertEqual([cell.strip() for cell in line.split("|")[2:5]], ["1", "1", "5"])
        self.assertIn("bert-base, 1x16, 1 thread: 1.30 ×", line)

    def test_load_times(self):
        memory = {"resident": 1.0, "anonymous": 1.0, "peak": 1.0}
        start = {"model": MODEL, "first_entity_s": 0.5, "shipped_mb": 1.0, "memory": memory}
        text = report.markdown(results_of(
            cell_row(PEER, "1x16", 5), cell_row(OURS, "1x16", 4),
            loads=[{"model": MODEL, "threads": 1, "hold": "", "engine": PEER, "load_s": 1.25}],
            start=[{**start, "engine": OURS, "open_ms": 0.5}, {**start, "engine": PEER, "load_s": 0.75}]))  # fmt: skip
        self.assertIn("| openvino | int8 | 1.25 | 5.00 |", text)
        self.assertIn("| octobert | int8 | - | 4.00 |", text)
        self.assertIn("| openvino | 0.500 | 0.75 s |", text)
        self.assertIn("| octobert | 0.500 | 0.50 ms |", text)

    def test_small_pages_are_reported(self):
        large, small = {"resident": 112.0, "large": 110.0}, {"resident": 112.0, "large": 60.0}
        good = report.markdown(results_of(cell_row(OURS, "1x16", 4, pages=[large] * 3)))
        self.assertNotIn("pages of 2 MB", good)
        bad = report.markdown(results_of(cell_row(OURS, "1x16", 4, pages=[large, small, large])))
        self.assertIn("bert-base, octobert: in 1 of 3 turns the model's file was not mostly in pages of 2 MB "
                      "(least: 54 %", bad)  # fmt: skip


class Measuring(unittest.TestCase):
    def test_figure(self):
        figure = Figure()
        for ms, bystanders in ((10, 0), (99, 1.0), (12, 0), (11, 0)):
            figure.add({"median_ms": ms, "pages": {"resident": 1.0, "large": 0.0}}, bystanders)
        result = figure.result()
        self.assertEqual((result["ms"], result["low_ms"], result["high_ms"]), (11, 10, 12))
        self.assertEqual((result["turns_ms"], len(result["pages"]), result["disturbed"]), ([10, 12, 11], 4, False))
        self.assertEqual(Figure().result(), {"error": "not measured"})

    def test_what_is_mapped_of_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder).resolve() / "with a space.octo"
            path.write_bytes(b"x" * 1_000_000)
            self.assertEqual(machine.mapped_mb(os.getpid(), path), {})
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                sum(mapped[::4096])
                found = machine.mapped_mb(os.getpid(), path)
            self.assertAlmostEqual(found["resident"], 1.0, places=1)
            self.assertIn("large", found)
        self.assertEqual(machine.mapped_mb(2**30, path), {}, "no such process")

    def test_largest_tensor(self):
        header = json.dumps({
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "words": {"dtype": "F32", "shape": [500, 500], "data_offsets": [8, 1_000_008]},
        }).encode()  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "model.safetensors"
            file.write_bytes(len(header).to_bytes(8, "little") + header)
            self.assertEqual(conversion.largest_tensor_mb(file.parent), 1.0)


class CommandLine(unittest.TestCase):
    def run_sh(self, *arguments):
        """Without an environment to run in, and with no place to make one: only arguments are looked at."""
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder) / "work"
            environment = {**os.environ, "OCTOBERT_PEERS_PYTHON": sys.executable, "OCTOBERT_PEERS_WORK": str(work),
                           "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
            command = [str(ROOT / "bench/peers/run.sh"), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            self.assertFalse(work.exists(), "something was made")
        return done.returncode, done.stdout, done.stderr

    def test_help_and_wrong_arguments_come_first(self):
        status, out, _ = self.run_sh("--help")
        self.assertEqual(status, 0)
        self.assertIn("--parts", out)
        for arguments, says in ((["--modles", "minilm"], "--modles"), (["--models", "maxilm"], "maxilm"),
                                (["--threads", "two"], "--threads"), (["--threads", "99999"], "99999"),
                                (["--parts", "cells,convrt"], "convrt"), (["--report", "/no/such"], "/no/such")):
            status, _, error = self.run_sh(*arguments)
            self.assertNotEqual(status, 0, arguments)
            self.assertIn(says, error)
            self.assertNotIn("Traceback", error)


if __name__ == "__main__":
    unittest.main()
