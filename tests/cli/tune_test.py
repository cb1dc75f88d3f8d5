"""octobert tune: what it writes, what it refuses."""

import json
import re
import shutil
import unittest

from common import EXIT_BAR_NOT_MET, NER_CHECKPOINT, TINY_CHECKPOINT, Case

WORDS = ["marta", "in", "lisbon", "yes", "the", "q", "bcd", "xyz", "ha", ",", ".", "k"]


class Tuning(Case):
    def texts(self, name="texts.txt"):
        return self.write(name, "".join(" ".join(WORDS[(i * 7 + j * (i % 5 + 1)) % len(WORDS)] for j in range(3 + i % 9)) +
                                        "\n" for i in range(120)))

    def test_model_policy_and_certificate(self):
        texts, model = self.texts(), self.folder / "m.octo"
        self.run_command("tune", TINY_CHECKPOINT, "-o", model, "--text", texts, "--min-agreement", "0.5", "--quiet")
        policy = self.folder / "m.policy.json"
        report = self.json_lines("inspect", model, "--json")[0]["report"]
        self.assertEqual(report["certificate.budget.met"], "yes")
        for reason in ("accuracy", "speed"):
            said = report[f"certificate.rolled_back.{reason}"]
            self.assertIn(f"certificate.rolled_back.{reason} ", self.run_command("inspect", model).stdout.decode())
            self.assertRegex(said, r"^nothing$|^((layer\.\d\.\w+|classifier) (dynamic|weight-only|float)(, |$))+$")
        self.assertGreaterEqual(float(report["certificate.held_out.agreement"]), 0.5)
        again = self.folder / "again.octo"
        self.run_command("convert", TINY_CHECKPOINT, "-o", again, "--policy", policy, "--calibrate", texts, "--quiet")
        self.assertEqual(again.read_bytes(), model.read_bytes())

    def refused(self, says, *options, status=1):
        model = self.folder / "m.octo"
        self.fails("tune", TINY_CHECKPOINT, "-o", model, *options, says=says, status=status)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if "octo" in path.name), [])

    def test_what_is_refused(self):
        texts = self.texts()
        budget = ["--min-agreement", "0.9"]
        self.refused("--text or --conll", *budget, status=2)
        self.refused("--max-f1-loss or --min-agreement", "--text", texts, status=2)
        self.refused("--conll", "--text", texts, "--max-f1-loss", "1", status=2)
        self.refused("an input too", "--text", texts, *budget, "--policy-out", texts, status=2)
        self.refused("two outputs", "--text", texts, *budget, "--policy-out", self.folder / "m.octo", status=2)
        best = self.write("b.policy.json", texts.read_text())
        self.refused("an input too", "--text", best, *budget, "--keep-best", self.folder / "b.octo", status=2)
        self.refused("is empty", "--text", texts, *budget, "--keep-best", "", status=2)
        self.refused("nowhere", "--text", texts, *budget, "--policy-out", self.folder / "nowhere" / "p.json")
        self.refused("no words", "--text", self.write("none.txt", "\u200b\n" * 64), *budget, "--calibrate", "builtin")
        self.refused("expected 8 or more", "--text", self.write("few.txt", "marta\n" * 7), *budget)
        labelled = self.write("other.tsv", "marta\tB-Q\nin\tO\n\n" * 20)
        for budget_of in (["--max-f1-loss", "1"], budget):
            self.refused(["other.tsv", "that the model has", "B-Q"], "--conll", labelled, *budget_of)
        utf16 = "".join("marta\n" for _ in range(20)).encode("utf-16")
        for name in ("16.txt", "16.jsonl", "16.tsv"):
            option = "--conll" if name.endswith("tsv") else "--text"
            self.refused([name, "looks like UTF-16"], option, self.write(name, utf16), *budget)

    def test_a_budget_that_cannot_be_met(self):
        # Nearly equal logits: the int8 words alone change some label.
        texts = self.write("many.txt", self.texts().read_text() * 2 + "".join(
            " ".join(f"{w}{(i * j) % 97}" for j, w in enumerate(WORDS)) + "\n" for i in range(400)))
        model, best, report = self.folder / "m.octo", self.folder / "best.octo", self.folder / "report"
        tune = ["tune", TINY_CHECKPOINT, "-o", model, "--text", texts, "--min-agreement", "1", "--quiet"]
        done = self.run_command(*tune, "--report", report, expect=EXIT_BAR_NOT_MET)
        self.assertIn("nothing is written", done.stdout.decode())
        self.assertRegex(done.stdout.decode(), r"rolled back from static for accuracy: .*\nnot static because .*: .*\n")
        remains = r"With every product in floats it is not met either: .* word embeddings, int8 in every scheme but float"
        self.assertRegex(done.stderr.decode(), "warning: " + remains)
        self.assertRegex((report / "index.html").read_text(), remains)
        self.assertIn("<h1>m.octo (not written)</h1>", (report / "index.html").read_text())
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["many.txt", "report", "texts.txt"])
        self.run_command(*tune, "--keep-best", best, "--report", report, expect=EXIT_BAR_NOT_MET)
        self.assertIn("<h1>best.octo</h1>", (report / "index.html").read_text())
        self.assertFalse(model.exists())
        certificate = self.json_lines("inspect", best, "--json")[0]["report"]
        self.assertEqual(certificate["certificate.budget.met"], "no")
        self.assertRegex(certificate["certificate.budget.remains"], remains)
        self.assertTrue((self.folder / "best.policy.json").exists())

    def test_a_copy_is_calibrated_on_without_what_is_held_out(self):
        texts = self.texts()
        copy = self.write("copy.txt", texts.read_text())
        tune = ["tune", TINY_CHECKPOINT, "-o", self.folder / "m.octo", "--text", texts, "--min-agreement", "0.1"]
        policies = []
        for options in ([], ["--calibrate", copy]):
            summary = self.run_command(*tune, *options).stdout.decode()
            policies.append(json.loads((self.folder / "m.policy.json").read_text()))
            self.assertIn("calibrated on " + (copy if options else texts).name, summary)
        self.assertEqual(*(policy["calibration"] for policy in policies))
        self.assertGreater(policies[0]["calibration"]["hold_out"], 0)

    def test_labels_of_which_the_model_has_some(self):
        labelled = self.write("some.tsv", "marta\tB-PER\nin\tO\nlisbon\tB-Q\n\n" * 20)
        done = self.run_command("tune", TINY_CHECKPOINT, "-o", self.folder / "m.octo", "--conll", labelled,
                                "--min-agreement", "0.1", "--quiet")
        self.assertRegex(done.stderr.decode(), r"warning: .*some\.tsv: 1 label .*: B-Q\. 20 of 40 entities")

    def test_a_model_whose_labels_have_no_names(self):
        checkpoint = self.folder / "checkpoint"
        shutil.copytree(TINY_CHECKPOINT, checkpoint)
        config = json.loads((checkpoint / "config.json").read_text())
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(len(names))}
        (checkpoint / "config.json").write_text(json.dumps(config))
        labelled = self.write("t.tsv", "marta\tB-PER\nin\tO\n\nyes\tB-PER\n\n" * 40)
        model = self.folder / "m.octo"
        tune = ["tune", checkpoint, "-o", model, "--conll", labelled, "--quiet"]
        said = r"t\.tsv: its labels \(B-PER, O\) .*: {}.*--labels FILE"
        error = self.fails(*tune, "--max-f1-loss", "100")
        self.assertRegex(error, said.format("there is no F1"))
        done = self.run_command(*tune, "--min-agreement", "0.1")
        self.assertRegex(done.stderr.decode(), said.format("agreement .* is measured, F1 is not"))
        of_file = lambda: self.json_lines("inspect", model, "--json")[0]
        self.assertNotIn("certificate.held_out.f1.float", of_file()["report"])
        # What the message says to do.
        done = self.run_command(*tune, "--max-f1-loss", "100", "--labels", self.write("names.txt", "\n".join(names)))
        self.assertNotIn("its labels", done.stderr.decode())
        self.assertIn("certificate.held_out.f1.float", of_file()["report"])
        self.assertEqual(of_file()["labels"], names)

    def test_the_warnings_that_convert_gives(self):
        checkpoint = self.folder / "checkpoint"
        shutil.copytree(TINY_CHECKPOINT, checkpoint)
        shutil.copy(NER_CHECKPOINT / "tokenizer.json", checkpoint)
        (checkpoint / "tokenizer_config.json").write_text('{"do_lower_case": false, "strip_accents": false}')
        config = json.loads((checkpoint / "config.json").read_text())
        config["id2label"].update({"1": "B-O", "2": "I-PER"})  # grouped with what is no entity; a name given twice
        config["auto_map"] = {"AutoModel": "m.M"}
        (checkpoint / "config.json").write_text(json.dumps(config))
        given = {}
        for command, *options in (["convert"], ["tune", "--text", self.texts(), "--min-agreement", "0.1", "--samples", "64"]):
            done = self.run_command(command, checkpoint, "-o", self.folder / f"{command}.octo", "--quiet", *options)
            given[command] = [line for line in done.stderr.decode().splitlines() if "warning: " in line]
        self.assertEqual(given["tune"], given["convert"])
        for part in ("'B-O'", "'I-PER' stands for more than one", "auto_map", "do_lower_case is false"):
            self.assertEqual(len([line for line in given["tune"] if part in line]), 1, given["tune"])

    def test_a_file_s_form_is_said_by_its_name(self):
        """Help and behaviour name the same endings."""
        help_text = self.run_command("tune", "--help").stdout.decode()
        endings = [set(re.findall(r"\.\w+", form)) for form in re.findall(r"JSON\s+lines\s+\(([^)]*)\)", help_text)]
        self.assertEqual(endings, [{".jsonl", ".json"}] * 2)  # of --text and of --calibrate
        for ending in endings[0]:
            self.refused("line 1: not valid JSON", "--text", self.texts(f"t{ending}"), "--min-agreement", "0.5")
        self.refused("t.tsv: by its name a file of words and labels", "--text", self.write("t.tsv", "marta\tO\n\n" * 20),
                     "--min-agreement", "0.5")


if __name__ == "__main__":
    unittest.main()
