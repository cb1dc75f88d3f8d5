"""--report and --tensorboard: what the page and the event file hold, and what is refused."""

import html.parser
import json
import os
import pathlib
import struct
import unittest

from common import EXIT_BAR_NOT_MET, NER, NER_CHECKPOINT, TINY, TINY_CHECKPOINT, Case


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """A protobuf message as [(number, value)]; bytes for what has a length."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        size = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            if size is None:
                assert key & 7 == 2, key
                size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        found.append((key >> 3, value))
    return found


def read_events(path):
    """[(step, tag, kind)] of an event file; every checksum is checked."""
    data, at, events = path.read_bytes(), 0, []
    while at < len(data):
        length = struct.unpack_from("<Q", data, at)[0]
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8])
        event = data[at + 12:at + 12 + length]
        assert len(event) == length and struct.unpack_from("<I", data, at + 12 + length)[0] == masked(event)
        at += 16 + length
        event = dict(fields(event))
        if 5 in event:
            value = dict(fields(dict(fields(event[5]))[1]))
            kind = "scalar" if 2 in value else "histogram" if 5 in value else "text"
            events.append((event.get(2, 0), value[1].decode(), kind))
        else:
            events.append((0, event[3].decode(), "version"))
    return events


class Page(html.parser.HTMLParser):
    """What a browser would see: the sections, the text, and that elements close in order."""

    def __init__(self, path):
        super().__init__()
        self.sections, self.text, self.open, self.tags = [], "", [], set()
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "section":
            self.sections.append(dict(attrs).get("id", ""))
        if tag not in ("meta", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


class Reports(Case):
    def report(self, *arguments, **more):
        folder = self.folder / "a" / "report"
        done = self.run_command(*arguments, "--report", folder, "--tensorboard", folder, **more)
        self.assertEqual(sorted(os.listdir(folder)), ["events.out.tfevents.octobert", "index.html"])
        return Page(folder / "index.html"), read_events(folder / "events.out.tfevents.octobert"), done

    def test_convert(self):
        page, events, _ = self.report("convert", TINY_CHECKPOINT, "-o", self.folder / "out.octo", "--quiet")
        self.assertEqual(page.sections, ["metrics", "products", "sqnr", "weights", "provenance"])
        self.assertIn("out.octo", page.text)
        self.assertEqual(events[0], (0, "brain.Event:2", "version"))
        self.assertIn((0, "weights/ffn2", "histogram"), events)
        self.assertIn((1, "sqnr_db/ffn_norm", "scalar"), events)
        self.assertIn((0, "report/model", "text"), events)

    def test_convert_with_calibration(self):
        page, events, _ = self.report("convert", TINY_CHECKPOINT, "-o", self.folder / "out.octo", "--quiet",
                                      "--scheme", "static", "--calibrate", "builtin")
        self.assertIn("activations", page.sections)
        self.assertIn("chosen", page.text)
        self.assertIn((0, "activations/ffn2", "histogram"), events)

    def test_verify(self):
        evil = "<script>alert(1)</script>"
        words = [evil, "Angela", "Merkel", "\u202eevil", "&amp;", "met"] * 20
        conll = self.write("<b>dev.tsv", "".join(f"{word}\tO\n" for word in words) + "\n")
        page, events, done = self.report("verify", TINY, "--against", TINY_CHECKPOINT, "--conll", conll, "--json")
        result = json.loads(done.stdout)
        changed = result["words"] - result["agreeing"]
        self.assertGreater(changed, 0, "the test shows nothing")
        self.assertIn("examples", page.sections)
        self.assertIn(f"{changed} word", page.text)
        self.assertNotIn("script", page.tags)
        self.assertNotIn("b", page.tags)
        self.assertIn(evil, page.text)
        self.assertIn("<b>dev.tsv", page.text)
        self.assertNotIn("\u202e", page.text)
        self.assertIn((0, "report/changed", "text"), events)

    def test_verify_alone_and_with_texts(self):
        page, _, _ = self.report("verify", NER)
        self.assertEqual(page.sections, ["products", "provenance"])
        text = self.write("t.txt", "Angela Merkel met Tim Cook in Cupertino.\n" * 30)
        page, _, _ = self.report("verify", NER, "--against", NER_CHECKPOINT, "--text", text, "--quiet")
        self.assertIn("activations", page.sections)
        self.assertIn("sqnr", page.sections)

    def test_is_there_when_the_bar_is_not_met(self):
        page, _, _ = self.report("verify", TINY, "--against", TINY_CHECKPOINT, "--min-agreement", "1", "--quiet",
                                 expect=EXIT_BAR_NOT_MET)
        self.assertIn("metrics", page.sections)

    def test_tune_with_two_budgets(self):
        words = [f"{word}\t{label}\n" for word, label in (("Marta", "B-PER"), ("met", "O"), ("Leeds", "B-LOC"))]
        conll = self.write("t.tsv", "".join("".join(words[i % 3:] + words[:i % 3]) + "\nyes\tB-PER\n\n" for i in range(400)))
        tune = ["tune", TINY_CHECKPOINT, "--conll", conll, "--samples", "64", "--quiet", "--max-f1-loss", "100"]
        page, events, _ = self.report(*tune, "-o", self.folder / "m.octo", "--min-agreement", "0.1")
        self.assertEqual(page.sections[:4], ["metrics", "times", "rollback", "sensitivity"])
        self.assertIn("margin within the nearer budget", page.text)
        self.assertIn((0, "rollback/value", "scalar"), events)

    def test_clipped_is_what_the_files_clip_and_not_the_test_vectors(self):
        model = self.folder / "m.octo"
        self.run_command("convert", TINY_CHECKPOINT, "-o", model, "--scheme", "static", "--calibrate", "builtin", "--quiet")
        files = [self.write("a.txt", "x " * 100 + "\n"), self.write("b.txt", "marta in lisbon\n" * 9)]
        page, events, done = self.report("verify", model, "--against", TINY_CHECKPOINT, "--text", *files, "--json")
        for file in json.loads(done.stdout)["files"]:
            self.assertTrue(file["clipped"]["by_product"])
            for product, share in file["clipped"]["by_product"].items():
                self.assertIn(f"{100 * share:.4f} %", page.text, product)
        self.assertIn((0, f"clipped/ffn2 on {files[0]}", "scalar"), events)

    def test_outputs_are_apart(self):
        for option, name in (("--report", "index.html"), ("--tensorboard", "events.out.tfevents.octobert")):
            taken = self.write(name, "marta in lisbon\n" * 64)
            model = ["-o", self.folder / "m.octo", option, self.folder, "--quiet"]
            self.fails("convert", TINY_CHECKPOINT, *model, "--calibrate", taken, says="is an input too", status=2)
            self.fails("tune", TINY_CHECKPOINT, *model, "--text", taken, "--min-agreement", "0.5",
                       says="is an input too", status=2)
            self.fails("verify", TINY, option, self.folder, "--against", TINY_CHECKPOINT, "--text", taken,
                       says="is an input too", status=2)
            self.fails("convert", TINY_CHECKPOINT, "-o", taken, option, self.folder, says="two outputs", status=2)
            self.fails("tune", TINY_CHECKPOINT, *model, "--text", self.write("t.txt", "marta\n" * 64),
                       "--min-agreement", "0.5", "--policy-out", taken, says="two outputs", status=2)
            self.assertEqual(pathlib.Path(taken).read_text(), "marta in lisbon\n" * 64)
            both = self.folder / "both.octo"
            self.fails("convert", TINY_CHECKPOINT, "-o", both, option, both, says="the folder of another", status=2)
            self.assertFalse(both.exists())

    def test_folders_that_cannot_be(self):
        file = self.write("file", "x")
        output = self.folder / "out.octo"
        link, taken = self.folder / "link", self.folder / "taken"
        link.symlink_to("nowhere")
        for name in ("index.html", "events.out.tfevents.octobert"):
            (taken / name).mkdir(parents=True)
        for option in ("--report", "--tensorboard"):
            for bad in (file, file / "inside", link, link / "inside", taken, "/proc"):
                self.fails("convert", TINY_CHECKPOINT, "-o", output, option, bad, "--quiet", says=str(bad))
                self.fails("verify", TINY, option, bad, says=str(bad))
                self.assertFalse(output.exists(), "refused before the work")
        self.fails("tune", TINY_CHECKPOINT, "-o", output, "--text", file, "--min-agreement", "0.5", "--report", taken,
                   says="index.html")


if __name__ == "__main__":
    unittest.main()
