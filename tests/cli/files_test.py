"""Packed files with a fault, verify, inspect, bench, info."""

import json
import shutil
import subprocess
import unittest

from common import (EXIT_BAR_NOT_MET, MODELS, NER, NER_CHECKPOINT, OCTOBERT, ROOT, SENTENCE, TINY, TINY_CHECKPOINT,
                    Case)

OPENERS = (["run", "x"], ["tokenize", "x"], ["inspect"], ["verify"], ["bench", "--seconds", "0"])


class BadFiles(Case):
    def opened_by_all(self, path, says=()):
        for command, *rest in OPENERS:
            self.fails(command, path, *rest, says=[str(path), *([says] if isinstance(says, str) else says)])
        self.fails("logits", path, "x", "-o", self.folder / "l.safetensors", says=str(path))
        self.assertFalse((self.folder / "l.safetensors").exists())

    def test_not_a_packed_file(self):
        for content in (b"", b"O", b"OCTOBERT", b"x" * 10000, b"\0" * 64, TINY.read_bytes()[:63],
                        b"PK\3\4" + TINY.read_bytes()[4:]):
            self.opened_by_all(self.write("bad.octo", content))

    def test_truncated(self):
        data = TINY.read_bytes()
        for size in (64, 100, len(data) // 2, len(data) - 1):
            self.opened_by_all(self.write("bad.octo", data[:size]))
        self.opened_by_all(self.write("bad.octo", data + b"x"))

    def test_newer_version(self):
        data = bytearray(TINY.read_bytes())
        data[8] += 1
        self.opened_by_all(self.write("bad.octo", bytes(data)))

    def test_every_section_s_checksum(self):
        data = TINY.read_bytes()
        for section in self.json_lines("inspect", TINY, "--json")[0]["sections"]:
            if section["bytes"] == 0:
                continue
            bad = bytearray(data)
            bad[section["offset"] + section["bytes"] // 2] ^= 0x10
            path = self.write("bad.octo", bytes(bad))
            self.assertIn(section["name"], self.fails("verify", path, says=str(path)))
            done = self.run_command("inspect", path, "--json", expect=1)
            self.assertIn(section["name"], done.stderr.decode())

    def test_bytes_between_sections_are_checked_too(self):
        data = bytearray(TINY.read_bytes())
        sections = self.json_lines("inspect", TINY, "--json")[0]["sections"]
        ends = {s["offset"] + s["bytes"] for s in sections}
        gaps = [end for end in ends if end % 64 != 0 and end < len(data)]
        self.assertTrue(gaps)
        data[gaps[0]] = 1
        self.fails("verify", self.write("bad.octo", bytes(data)), says="bad.octo")


class Tools(Case):
    def test_verify(self):
        for model in (TINY, NER):
            (result,) = self.json_lines("verify", model, "--json")
            self.assertGreater(result["vectors"], 0)
            self.assertEqual(result["vector_mismatches"], 0)
        self.assertIn("test vectors equal", self.run_command("verify", TINY).stdout.decode())

    def test_verify_against_the_float_model(self):
        text = self.write("texts.txt", f"{SENTENCE}\n\nParis and Oslo are cities.\n")
        rows = [("Angela", "B-PER"), ("Merkel", "I-PER"), ("met", "O"), ("Tim", "B-PER"), ("Cook", "I-PER"), ("in", "O"),
                ("Berlin", "B-LOC"), (".", "O")]
        conll = self.write("labelled.tsv", "".join(f"{word}\t{label}\n" for word, label in rows) + "\n")
        (result,) = self.json_lines("verify", NER, "--against", NER_CHECKPOINT, "--json", "--text", text, "--conll", conll)
        self.assertEqual([file["file"] for file in result["files"]], [str(text), str(conll)])
        self.assertEqual(result["words"], sum(file["words"] for file in result["files"]))
        self.assertEqual((result["files"][1]["words"], result["files"][1]["agreement"]), (8, 1))
        self.assertNotIn("float", result["files"][0])  # no labels in it
        for model in ("float", "model"):
            scores = result[model]
            self.assertEqual([scores[key] for key in ("precision", "recall", "f1")], [1, 1, 1])
            self.assertEqual({label: s["f1"] for label, s in scores["by_label"].items()}, {"PER": 1, "LOC": 1})
        self.assertGreater(result["sqnr_db"]["layer.0.qkv"], 20)
        table = self.run_command("verify", NER, "--against", NER_CHECKPOINT, "--conll", conll, "--quiet").stdout.decode()
        self.assertRegex(table, r"PER +2 +100\.00 +100\.00 +100\.00")
        float_model = MODELS / "tiny-float.octo"
        (equal,) = self.json_lines("verify", float_model, "--against", TINY_CHECKPOINT, "--json", "--text", text,
                                   "--min-agreement", "1")
        self.assertEqual((equal["agreement"], equal["sqnr_db"]["logits"]), (1, None))

    def test_verify_says_which_labels_are_not_the_model_s(self):
        against = ["verify", NER, "--against", NER_CHECKPOINT, "--quiet"]
        some = self.write("some.tsv", "Berlin\tB-LOC\nand\tO\naspirin\tB-DRUG\nplus\tI-DRUG\n\n")
        warning = "some.tsv: 2 labels of types that the model does not have: B-DRUG, I-DRUG. 1 of 2 entities"
        done = self.run_command(*against, "--conll", some, "--json", "--report", self.folder / "report")
        self.assertIn(f"octobert: warning: {self.folder}/{warning}", done.stderr.decode())
        self.assertIn(warning, "\n".join(json.loads(done.stdout)["warnings"]))
        self.assertIn(warning, (self.folder / "report" / "index.html").read_text(encoding="utf-8"))
        known = self.write("known.tsv", "Berlin\tB-LOC\n\n")
        done = self.run_command(*against, "--conll", known, "--json")
        self.assertEqual((done.stderr, json.loads(done.stdout)["warnings"]), (b"", []))
        none = self.write("none.tsv", "aspirin\tB-DRUG\nhelps\tO\n\n")
        self.fails(*against, "--conll", known, none, says=["none.tsv", "that the model has (LOC, MISC, ORG, PER)", "B-DRUG", "--labels FILE"])

    def test_a_model_whose_labels_have_no_names(self):
        """Agreement is measured; F1 after the remedy that the message names."""
        checkpoint, model = self.folder / "checkpoint", self.folder / "m.octo"
        shutil.copytree(NER_CHECKPOINT, checkpoint)
        config = json.loads((checkpoint / "config.json").read_text())
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        del config["label2id"]
        conll = self.write("known.tsv", "Berlin\tB-LOC\nis\tO\n\n")
        compare = ["verify", model, "--against", checkpoint, "--conll", conll, "--quiet", "--json"]
        convert = ["convert", checkpoint, "-o", model, "--quiet", "--no-check"]
        labels = ["--labels", self.write("names.txt", "\n".join(names))]
        # As transformers saves such a folder; and as hands do, so that not even how many there are is known.
        for id2label in ({str(i): f"LABEL_{i}" for i in range(len(names))}, None):
            config["id2label"] = id2label
            (checkpoint / "config.json").write_text(json.dumps(config))
            if id2label:
                self.run_command(*convert)
                done = self.run_command(*compare)
                self.assertRegex(done.stderr.decode(), r"known\.tsv: its labels \(B-LOC, O\) .* \(LABEL_0 to LABEL_8\)"
                                 ".*agreement .* is measured, F1 is not.*--labels FILE")
                result = json.loads(done.stdout)
                self.assertEqual((result["words"], "float" in result), (2, False))
            else:
                self.fails(*convert, says=["classifier.weight", "id2label"])
            # The remedy; with --calibrate, which runs the float model too.
            self.run_command(*convert, *labels, "--no-gptq", "--calibrate",
                             self.write("texts.txt", f"{SENTENCE}\n" * 8))
            (result,) = self.json_lines(*compare, *([] if id2label else labels))
            self.assertEqual((result["warnings"], result["float"]["f1"]), ([], 1))
        self.fails(*compare, says=["classifier.weight", "id2label"])

    def test_verify_knows_the_form_of_texts_by_their_name_as_tune_does(self):
        verify = ["verify", TINY, "--against", TINY_CHECKPOINT, "--json", "--text"]
        (plain,) = self.json_lines(*verify, self.write("t.txt", "marta in lisbon\nyes\n"))
        for name in ("t.jsonl", "t.json"):
            (named,) = self.json_lines(*verify, self.write(name, '{"text": "marta in lisbon"}\n"yes"\n'))
            self.assertEqual(named["words"], plain["words"])
            self.assertEqual(named["kl_divergence"], plain["kl_divergence"])
        self.fails(*verify, self.write("t.tsv", "marta\tO\n\n"), says=["t.tsv", "--conll"])

    def test_json_lines_are_read_alike(self):
        """verify, convert --calibrate and tune take the same lines, and say the same of others."""
        out = self.folder / "m.octo"
        commands = (["verify", TINY, "--against", TINY_CHECKPOINT, "--quiet", "--text"],
                    ["convert", TINY_CHECKPOINT, "-o", out, "--quiet", "--no-check", "--calibrate"],
                    ["tune", TINY_CHECKPOINT, "-o", out, "--quiet", "--min-agreement", "0.1", "--text"])
        lines = ('"marta in lisbon yes"', '{"text": "marta in lisbon yes", "id": 1}', '["marta", "in", "lisbon", "yes"]', "")
        good = self.write("good.jsonl", "\n".join(lines * 30))
        plain = self.write("plain.txt", "marta in lisbon yes\n" * 90)
        for command in commands:
            said = [self.run_command(*command, path).stdout.replace(str(path).encode(), b"") for path in (good, plain)]
            if command[0] == "verify":
                self.assertEqual(*(" ".join(text.decode().split()) for text in said))
        for line, says in (("12", "expected a string, an object with \"text\" or an array of words, found number"),
                           ("{}", "the object has no field \"text\""), ("{", "not valid JSON at byte 2"),
                           ('{"text": 1}', "field \"text\": expected a string, found number"),
                           ('["a", 1]', "word 2: expected a string, found number"),
                           ('{"text": "a", "id": 1e999}', "number overflow parsing '1e999'")):
            bad = self.write("bad.jsonl", f'"marta"\n\n{line}\n')
            for command in commands:
                self.fails(*command, bad, says=["bad.jsonl", "line 3: " + says])

    def test_verify_says_utf16_by_name(self):
        rows, lines = "Berlin\tB-LOC\n\n", '"Berlin"\n"Paris"\n'
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            for option, content in (["--conll"], rows), (["--text"], lines), (["--jsonl", "--text"], lines):
                path = self.write("16.txt", content.encode(encoding))
                self.fails("verify", NER, "--against", NER_CHECKPOINT, "--quiet", *option, path,
                           says=["16.txt", "line 1", "not UTF-8", "looks like UTF-16"])

    def test_verify_refuses_other_encodings(self):
        latin = self.write("latin.txt", "Berlin\nZürich\n".encode("latin-1"))
        self.fails("verify", NER, "--against", NER_CHECKPOINT, "--text", latin, says=["latin.txt", "line 2", "not UTF-8"])
        lines = self.write("latin.jsonl", '"Berlin"\n"Zürich"\n'.encode("latin-1"))
        self.fails("verify", NER, "--against", NER_CHECKPOINT, "--text", lines, says=["latin.jsonl", "line 2"])

    def test_verify_s_bar(self):
        # Gold labels that neither model gives do not matter to it: it is about the float model's labels.
        wrong = self.write("wrong.tsv", "Berlin\tB-MISC\n\n")
        self.run_command("verify", NER, "--against", NER_CHECKPOINT, "--conll", wrong, "--min-agreement", "1")
        dev = ROOT / "data" / "ner" / "E1.tsv"
        several = self.write("several.tsv", "\n\n".join(dev.read_text(encoding="utf-8").split("\n\n")[:400]) + "\n\n")
        done = self.run_command("verify", NER, "--against", NER_CHECKPOINT, "--conll", wrong, several, "--min-agreement",
                                "1", "--json", "--quiet", expect=EXIT_BAR_NOT_MET)
        self.assertIn("several.tsv: agreement 0.99", done.stderr.decode())
        self.assertLess(json.loads(done.stdout)["agreement"], 1)
        for empty in ("", "\n\n"):
            path = self.write("empty.txt", empty)
            for option in ("--text", "--conll"):
                self.fails("verify", NER, "--quiet", "--against", NER_CHECKPOINT, option, path, says=["empty.txt", "no words"])
        self.fails("verify", NER, "--against", TINY_CHECKPOINT, says="hidden_size")

    def test_inspect(self):
        (result,) = self.json_lines("inspect", NER, "--json", "--tensors")
        self.assertEqual((result["config"]["layers"], result["config"]["hidden_size"]), (6, 384))
        self.assertEqual(result["config"]["scheme"], "dynamic")
        self.assertEqual(result["labels"][:3], ["O", "B-LOC", "I-LOC"])
        self.assertTrue(all(s["checksum_ok"] and s["offset"] % 64 == 0 for s in result["sections"]))
        self.assertIn("layer.5.ffn2.weight", [t["name"] for t in result["tensors"]])
        self.assertEqual(result["bytes"], NER.stat().st_size)
        text = self.run_command("inspect", NER).stdout.decode()
        self.assertIn("hidden_size", text)
        self.assertNotIn("DIFFERS", text)

    def test_names_that_are_not_utf8(self):
        path = bytes(self.folder) + b"/\xff.octo"
        shutil.copy(TINY, path)
        for command in ("verify", "inspect", "bench"):
            options = ["--shapes", "1x4", "--seconds", "0"] if command == "bench" else []
            done = subprocess.run([OCTOBERT, command, path, "--json", *options], capture_output=True, check=True)
            self.assertIn("\ufffd.octo", json.loads(done.stdout).get("file" if command != "bench" else "model"))

    def test_bench(self):
        lines = self.json_lines("bench", TINY, "--shapes", "1x16,3x7", "--seconds", "0.01", "--json", "--threads", "1")
        self.assertEqual([line["shape"] for line in lines], ["1x16", "3x7"])
        self.assertEqual([line["tokens"] for line in lines], [16, 21])
        for line in lines:
            self.assertTrue(0 < line["min_ms"] <= line["median_ms"] <= line["p90_ms"] <= line["p99_ms"])
            self.assertEqual(line["threads"], 1)
        calls = self.write("calls.jsonl", "[[1,2,3],[4]]\n\n[[5]]\n")
        (line,) = self.json_lines("bench", TINY, "--ids", calls, "--seconds", "0.01", "--json")
        self.assertEqual((line["calls"], line["tokens"]), (2, 5))
        self.assertIn("tokens/s", self.run_command("bench", TINY, "--seconds", "0.01").stdout.decode())
        for content in ("", "[]", "[1]", "[[1],2]", "[[-1]]", "[[1e9]]", "[[99999999]]", "[[]]", "x", '[["a"]]'):
            self.fails("bench", TINY, "--ids", self.write("calls.jsonl", content), says="calls.jsonl")
        self.fails("bench", TINY, "--shapes", "1x100000", says="1x100000")

    def test_info(self):
        (info,) = self.json_lines("info", "--json")
        self.assertGreaterEqual(info["threads"], 1)
        self.assertIn(info["isa"], [i["name"] for i in info["compiled"] if i["available"]])
        self.assertIn(f"used: {info['isa']}", self.run_command("info").stdout.decode())


if __name__ == "__main__":
    unittest.main()
