"""octobert run: inputs, outputs, options."""

import json
import unittest

from common import EXIT_USAGE, MODELS, NER, SENTENCE, TINY, TINY_CHECKPOINT, Case, environment

PEOPLE = [("PER", "Angela Merkel"), ("PER", "Tim Cook"), ("ORG", "Apple"), ("LOC", "Cupertino")]


def utf16_units(text):
    return len(text.encode("utf-16-le")) // 2


class Entities(Case):
    def entities(self, text, *options, **more):
        (result,) = self.json_lines("run", NER, text, "--json", *options, **more)
        self.assertEqual(set(result), {"text", "truncated", "entities"})
        self.assertEqual(result["text"], text)
        return result["entities"]

    def test_known_sentence(self):
        entities = self.entities(SENTENCE)
        self.assertEqual([(e["label"], e["text"]) for e in entities], PEOPLE)
        for e in entities:
            self.assertEqual(set(e), {"label", "score", "text", "bytes", "codepoints", "utf16"})
            self.assertTrue(0 < e["score"] <= 1)

    def test_offsets_in_three_units(self):
        text = "😀 Zürich, naïve 日本: " + SENTENCE
        found = self.entities(text)
        self.assertIn("Tim Cook", [e["text"] for e in found])
        for e in found:
            begin, end = e["codepoints"]
            self.assertEqual(text[begin:end], e["text"])
            self.assertEqual(text.encode()[e["bytes"][0]:e["bytes"][1]].decode(), e["text"])
            self.assertEqual(e["utf16"], [utf16_units(text[:begin]), utf16_units(text[:end])])

    def test_reference_strategies_have_the_reference_s_fields(self):
        for strategy in ("simple", "first", "average", "max"):
            for e in self.entities(SENTENCE, "--strategy", strategy):
                self.assertEqual(list(e), ["entity_group", "score", "word", "start", "end"])
        tokens = self.entities(SENTENCE, "--strategy", "none")
        for e in tokens:
            self.assertEqual(list(e), ["entity", "score", "index", "word", "start", "end"])
        self.assertEqual((tokens[0]["entity"], tokens[0]["index"], tokens[0]["word"]), ("B-PER", 1, "angela"))

    def test_clipped(self):
        done = self.run_command("run", MODELS / "tiny-static.octo", "x " * 300, "--clipped")
        error = done.stderr.decode()
        self.assertIn("activations outside their calibrated range", error)
        self.assertRegex(error, r"all +\d+\.\d{4} % of [1-9]\d*\n")
        self.assertRegex(error, r"layer\.\d+\.(qkv|context|attention_output|ffn1|ffn2)")
        done = self.run_command("run", TINY, SENTENCE, "--clipped")
        self.assertIn("nothing in this model is static", done.stderr.decode())

    def test_filters(self):
        labels = lambda *options: [e["label"] for e in self.entities(SENTENCE, *options)]
        self.assertEqual(labels("--ignore-labels", "PER", "O"), ["ORG", "LOC"])
        self.assertEqual(labels("--ignore-labels", "O", "--ignore-labels", "PER"), ["ORG", "LOC"])
        self.assertEqual(labels("--min-score", "1"), [])
        self.assertEqual(labels("--min-score", "0", "PER=1", "LOC=1"), ["ORG"])
        self.assertEqual(labels("--min-score=0.01"), ["PER", "PER", "ORG", "LOC"])
        self.assertIn("O", labels("--ignore-labels", ""))

    def test_a_text_after_a_list_option_is_a_text(self):
        for options in (["--min-score", "0.1", SENTENCE], ["--ignore-labels", "O", "MISC", SENTENCE]):
            (result,) = self.json_lines("run", NER, "--json", *options)
            self.assertEqual(result["text"], SENTENCE)

    def test_label_scores(self):
        for e in self.entities(SENTENCE, "--label-scores"):
            scores = e["label_scores"]
            self.assertEqual(len(scores), 9)
            self.assertAlmostEqual(sum(scores.values()), 1, places=4)

    def test_long_text_is_windowed_or_cut_as_asked(self):
        text = "Nothing to see here. " * 300 + SENTENCE
        people = [text for label, text in PEOPLE if label == "PER"]
        self.assertEqual([e["text"] for e in self.entities(text) if e["label"] == "PER"], people)
        (cut,) = self.json_lines("run", NER, text, "--json", "--truncate")
        self.assertEqual((cut["truncated"], cut["entities"]), (True, []))
        (reference,) = self.json_lines("run", NER, text, "--json", "--strategy", "simple")
        self.assertEqual((reference["truncated"], reference["entities"]), (True, []))
        (windows,) = self.json_lines("run", NER, text, "--json", "--strategy", "simple", "--stride", "32")
        self.assertEqual([e["word"] for e in windows["entities"] if e["entity_group"] == "PER"],
                         [name.lower() for name in people])
        (short,) = self.json_lines("run", NER, SENTENCE, "--json", "--truncate", "--max-length", "6")
        self.assertTrue(short["truncated"])
        done = self.run_command("run", NER, SENTENCE, "--truncate", "--max-length", "6")
        self.assertIn(b"text 1: cut", done.stderr)

    def test_same_bytes_for_every_thread_count_and_batch(self):
        lines = [SENTENCE[:n] for n in range(0, len(SENTENCE), 3)]
        stdin = "\n".join(lines) + "\n"
        expected = self.run_command("run", NER, "--json", "--threads", "1", stdin=stdin).stdout
        for threads in ("2", "3", "0"):
            self.assertEqual(self.run_command("run", NER, "--json", "--threads", threads, stdin=stdin).stdout, expected)
        one_by_one = b"".join(self.run_command("run", NER, "--json", "--", line).stdout for line in lines[::4])
        self.assertEqual(one_by_one, b"".join(expected.splitlines(keepends=True)[::4]))


class Inputs(Case):
    def texts(self, *arguments, **more):
        return [r["text"] for r in self.json_lines("run", TINY, "--json", *arguments, **more)]

    def test_sources_in_order(self):
        a, d = self.write("a.txt", "two\nthree\r\n\nlast without a break"), self.write("d.txt", "one\ndocument\n")
        self.assertEqual(self.texts("one", "--file", a, "--document", d, a),
                         ["one", "two", "three", "", "last without a break", "one\ndocument\n", a.read_bytes().decode()])
        self.assertEqual(self.texts("--file", "-", stdin="x\ny"), ["x", "y"])
        self.assertEqual(self.texts(stdin="x\ny\n"), ["x", "y"])
        self.assertEqual(self.texts(stdin=""), [])

    def test_texts_that_look_like_something_else(self):
        for text in ("[SEP]", "[a,b]", "info", "{}", "%s %n", "a=b", " ", "\t", "--file"):
            self.assertEqual(self.texts("--", text), [text])
        self.assertEqual(self.texts("[CLS] x [SEP]", "[1,2]"), ["[CLS] x [SEP]", "[1,2]"])

    def test_json_lines(self):
        lines = ['"a string"', '{"text": "an object", "id": 7}', "", '["some", "words"]', '"caf\\u00e9 \\ud83d\\ude00"']
        results = self.json_lines("run", TINY, "--json", "--jsonl", stdin="\n".join(lines))
        self.assertEqual([r["text"] for r in results], ["a string", "an object", "some words", "café 😀"])
        self.assertEqual(results[2]["words"], ["some", "words"])
        self.assertEqual([len(results[2][k]) for k in ("labels", "scores")], [2, 2])

    def test_json_lines_with_a_fault_name_the_line(self):
        faults = ['"\\ud800"', '"\\udc00 x"', '"\\ud83dx"', "{", "nonsense", "12", "null", "{}", '{"text": 1}',
                  '["a", 1]', '"a" "b"', "[" * 100000]
        for fault in faults:
            done = self.run_command("run", TINY, "--json", "--jsonl", stdin=f'"fine"\n"too"\n{fault}\n"after"\n', expect=1)
            self.assertIn("standard input: line 3: ", done.stderr.decode())
            self.assertEqual([json.loads(line)["text"] for line in done.stdout.splitlines()], ["fine", "too"])
            self.assertLess(len(done.stderr), 1000)
        self.fails("run", TINY, "--jsonl", '"\\udfff"', says="text 1: not valid JSON")

    def test_words(self):
        stdin = "Angela Merkel  met Tim\n\nBerlin\n"
        results = self.json_lines("run", NER, "--words", "--json", stdin=stdin)
        self.assertEqual([r["words"] for r in results], [["Angela", "Merkel", "met", "Tim"], [], ["Berlin"]])
        self.assertEqual(results[0]["labels"], ["B-PER", "I-PER", "O", "B-PER"])
        for option in ([], ["--conll"]):
            lines = self.run_command("run", NER, "--words", *option, stdin=stdin).stdout.decode().split("\n")
            self.assertEqual(lines, ["Angela\tB-PER", "Merkel\tI-PER", "met\tO", "Tim\tB-PER", "", "", "Berlin\tB-LOC",
                                     "", ""])

    def test_conll_of_a_text(self):
        out = self.run_command("run", NER, "--conll", SENTENCE).stdout.decode()
        rows = [line.split("\t") for line in out.strip().split("\n")]
        self.assertEqual(rows[:6], [["Angela", "B-PER"], ["Merkel", "I-PER"], ["met", "O"], ["Tim", "B-PER"],
                                    ["Cook", "I-PER"], ["at", "O"]])
        self.assertEqual("".join(word for word, _ in rows), SENTENCE.replace(" ", ""))

    def model_with_labels(self, *labels):
        """The tiny model with other label names; X0, X1, ... fill up."""
        count = len(json.loads((TINY_CHECKPOINT / "config.json").read_text())["id2label"])
        names = [*labels, *(f"X{i}" for i in range(count - len(labels)))]
        model = self.folder / "labels.octo"
        self.run_command("convert", TINY_CHECKPOINT, "-o", model, "--quiet", "--no-check", "--labels",
                         self.write("labels.txt", "\n".join(names) + "\n"))
        return model

    def test_conll_of_names_that_look_like_tags(self):
        model = self.model_with_labels("O", "E-MAIL", "B-X", "I-X", "E-POST", "S-BAHN", "U-BAHN", "L-Z")
        text = " ".join("the of and to in for on with by at from a b c d e".split() * 3)
        labels = lambda *options: [line.split("\t")[1] for line in
                                   self.run_command("run", model, text, *options).stdout.decode().split("\n") if line]
        of_model = set(labels("--conll", "--strategy", "none", "--ignore-labels", ""))
        self.assertTrue(of_model & {"E-MAIL", "E-POST", "S-BAHN", "U-BAHN", "L-Z"}, of_model)
        for label in labels("--conll"):
            self.assertIn(label, ["O", "B-X", "I-X"] + [mark + name for mark in ("B-", "I-") for name in
                          ("E-MAIL", "E-POST", "S-BAHN", "U-BAHN", "L-Z", *(f"X{i}" for i in range(20)))])

    def test_groups_of_the_reference_can_be_named(self):
        model = self.model_with_labels("O", "b-per", "i-per", "B-B-Y")
        for name in ("per", "b-per", "B-Y"):
            for option, value in (("--ignore-labels", name), ("--min-score", f"{name}=0.5")):
                if option == "--min-score" and name == "b-per":
                    continue  # in strategy first no entity is called so
                self.run_command("run", model, "some text", "--strategy", "first", option, value)
        self.fails("run", model, "some text", "--ignore-labels", "er", says="er", status=EXIT_USAGE)

    def test_document_offsets_are_the_file_s(self):
        text = "First line.\n\n" + SENTENCE + "\r\nLast line.\n"
        (result,) = self.json_lines("run", NER, "--json", "--document", self.write("d.txt", text))
        self.assertEqual(len(result["entities"]), 4)
        for e in result["entities"]:
            self.assertEqual(text.encode()[slice(*e["bytes"])].decode(), e["text"])

    def test_empty_and_odd_texts(self):
        for text in (b"", b" ", b"\0", b"a\0b", b"\xef\xbb\xbf", "\u200b\u00ad".encode(), b"\x1b[31m"):
            (result,) = self.json_lines("run", TINY, "--json", "--document", self.write("d", text))
            self.assertEqual(result["text"].encode(), text)
        self.assertEqual(self.run_command("run", NER, "").stdout, b"\n")
        self.assertEqual(self.json_lines("run", NER, "--json", ""), [{"text": "", "truncated": False, "entities": []}])

    def test_invalid_utf8(self):
        bad = b"Berlin \xff\xe2\x82 Paris"
        (result,) = self.json_lines("run", NER, "--json", stdin=bad)
        self.assertEqual(result["text"], bad.decode(errors="replace"))
        self.assertEqual([bad[slice(*e["bytes"])] for e in result["entities"]], [b"Berlin", b"Paris"])
        done = self.run_command("run", NER, "--invalid-utf8", "error", stdin=b"fine\n" + bad, expect=1)
        self.assertIn(b"standard input: line 2: ", done.stderr)
        self.assertIn(b"7", done.stderr)
        self.assertEqual(done.stdout, b"fine\n")
        (result,) = self.json_lines("run", NER, "--json", "--jsonl", stdin=b'"' + bad + b'"')
        self.assertEqual(result["text"], bad.decode(errors="replace"))
        self.run_command("run", NER, "--jsonl", "--invalid-utf8", "error", stdin=b'"' + bad + b'"', expect=1)

    def test_special_tokens_in_text(self):
        keep = self.json_lines("tokenize", NER, "a [SEP] b")
        escape = self.json_lines("tokenize", NER, "a [SEP] b", "--special-tokens-in-text", "escape")
        self.assertEqual(keep[0]["chunks"][0]["ids"].count(102), 2)
        self.assertEqual(escape[0]["chunks"][0]["ids"].count(102), 1)

    def test_missing_files(self):
        self.fails("run", TINY, "--file", self.folder / "no", says=[str(self.folder / "no"), "No such file"])
        self.fails("run", TINY, "--document", self.folder / "no", says="No such file")
        self.fails("run", TINY, "--file", self.folder, says="directory")
        self.fails("run", self.folder / "no.octo", "x", says=[str(self.folder / "no.octo"), "No such file"])
        self.fails("run", self.folder, "x", says=str(self.folder))


class Usage(Case):
    def test_wrong_command_lines(self):
        for arguments in ([], ["nonsense"], ["run"], ["run", TINY, "--nonsense"], ["run", TINY, "--strategy", "best"],
                          ["run", TINY, "--json", "--conll"], ["run", TINY, "--label-scores", "x"], ["run", TINY, "--jsonl", "--words"],
                          ["run", TINY, "--min-score", "high"], ["run", TINY, "--min-score", "PER=2"],
                          ["run", TINY, "--min-score", "-1"], ["run", TINY, "--threads", "-1"],
                          ["run", TINY, "--threads", "x"], ["run", TINY, "--max-length", "0"],
                          ["run", TINY, "--truncate", "--stride", "3"], ["run", TINY, "--invalid-utf8", "maybe"],
                          ["run", TINY, "--document", "f", "--words"], ["bench", TINY, "--shapes", "8by128"],
                          ["logits", TINY], ["tokenize", TINY, "x", "--stride", "3"],
                          ["bench", TINY, "--seconds", "nan"], ["bench", TINY, "--seconds", "inf"],
                          ["bench", TINY, "--seconds", "-1"], ["bench", TINY, "--seconds", "1s"],
                          ["verify", TINY, "--against", TINY_CHECKPOINT, "--min-agreement", "nan"],
                          ["verify", TINY, "--against", TINY_CHECKPOINT, "--min-agreement", "1.5"],
                          ["convert", TINY_CHECKPOINT, "-o", self.folder / "m", "--min-agreement", "nan"]):
            error = self.fails(*arguments, status=EXIT_USAGE)
            self.assertGreater(len(error), 10, arguments)

    def test_a_label_that_the_model_has_not(self):
        for option, value in (("--ignore-labels", "PERSON"), ("--min-score", "PERSON=0.5")):
            self.fails("run", NER, option, value, says=[option, "PERSON", "B-PER"], status=EXIT_USAGE)

    def test_help_says_what_one_needs(self):
        out = self.run_command("--help").stdout.decode()
        for command in ("convert", "run", "tokenize", "logits", "verify", "inspect", "info", "bench"):
            self.assertIn(command, out)
            text = self.run_command(command, "--help").stdout.decode()
            self.assertIn("Examples:", text)
            self.assertIn("Exit status:", text)
        self.assertRegex(self.run_command("--version").stdout.decode(), r"^octobert \d+\.\d+\.\d+\n$")

    def test_instruction_sets(self):
        info = self.json_lines("info", "--json")[0]
        names = [isa["name"] for isa in info["compiled"] if isa["available"]]
        self.assertIn("scalar", names)
        outputs = {name: self.run_command("run", TINY, "--json", SENTENCE, env=environment(OCTOBERT_ISA=name)).stdout
                   for name in names}
        self.assertEqual(len(set(outputs.values())), 1)
        for command in (["run", TINY, "x"], ["info"], ["verify", TINY], ["bench", TINY]):
            self.fails(*command, env=environment(OCTOBERT_ISA="mmx"), says="mmx")
        for name in [isa["name"] for isa in info["compiled"] if not isa["available"]]:
            self.fails("run", TINY, "x", env=environment(OCTOBERT_ISA=name), says=name)
        self.run_command("run", TINY, "x", env=environment(OCTOBERT_ISA=""))


if __name__ == "__main__":
    unittest.main()
