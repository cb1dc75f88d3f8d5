"""octobert tokenize and octobert logits; and that the same model gives the same bits in every build."""

import json
import struct
import unittest

from common import NER, NER_CHECKPOINT, ROOT, SENTENCE, TINY, Case, read_safetensors
from make_digests import digests


class Tokenize(Case):
    def chunks(self, *arguments, **more):
        return [line["chunks"] for line in self.json_lines("tokenize", *arguments, **more)]

    def test_fields(self):
        ((chunk,),) = self.chunks(NER, "Zürich 😀!")
        self.assertEqual(list(chunk), ["ids", "type_ids", "special", "words", "offsets", "byte_offsets"])
        self.assertEqual(chunk["special"], [1, 0, 0, 0, 1])
        self.assertEqual(chunk["words"], [None, 0, 1, 2, None])
        self.assertEqual(chunk["offsets"], [[0, 0], [0, 6], [7, 8], [8, 9], [0, 0]])
        self.assertEqual(chunk["byte_offsets"], [[0, 0], [0, 7], [8, 12], [12, 13], [0, 0]])

    def test_folder_and_packed_file_agree(self):
        lines = "\n".join([SENTENCE, "", "naïve [SEP] 日本", "x" * 200])
        self.assertEqual(self.chunks(NER, stdin=lines), self.chunks(NER_CHECKPOINT, stdin=lines))

    def test_pairs_words_and_chunks(self):
        ((pair,),) = self.chunks(NER, "--jsonl", stdin='{"text": "a b", "pair": "c"}')
        self.assertEqual(pair["type_ids"], [0, 0, 0, 0, 1, 1])
        self.assertEqual(pair["sequences"], [0, 0, 0, 0, 1, 0])
        ((words,),) = self.chunks(NER, "--jsonl", '["Merkel", "met"]')
        self.assertEqual(words["words"], [None, 0, 0, 1, None])
        (chunks,) = self.chunks(NER, SENTENCE, "--max-length", "8", "--stride", "2")
        self.assertTrue(all(len(c["ids"]) <= 8 for c in chunks) and len(chunks) > 1)
        self.assertEqual(chunks[0]["ids"][-3:-1], chunks[1]["ids"][1:3])
        (whole,) = self.chunks(NER, "word " * 5000)
        self.assertEqual((len(whole), len(whole[0]["ids"])), (1, 5002))

    def test_faults(self):
        self.fails("tokenize", self.folder, "x", says=str(self.folder))
        self.fails("tokenize", NER, "--jsonl", '{"text": "a", "pair": 1}', says=["text 1", "pair"])
        self.fails("tokenize", NER, "--max-length", "8", "--stride", "6", "x y z a b c d e f g", says="stride")


class Logits(Case):
    def logits(self, *arguments, **more):
        out = self.folder / "out.safetensors"
        done = self.run_command("logits", "-o", out, *arguments, **more)
        return read_safetensors(out), done.stderr.decode()

    def test_ids_and_logits_of_every_text(self):
        texts = [SENTENCE, "", "one", "x " * 100]
        tensors, notes = self.logits(NER, stdin="\n".join(texts))
        self.assertEqual((list(tensors), notes),
                         (["ids.0", "logits.0", "ids.1", "logits.1", "ids.2", "logits.2", "ids.3", "logits.3"], ""))
        for n, text in enumerate(texts):
            ids = self.json_lines("tokenize", NER, "--", text)[0]["chunks"][0]["ids"]
            self.assertEqual(tensors[f"ids.{n}"], ("I32", [len(ids)], struct.pack(f"<{len(ids)}i", *ids)))
            self.assertEqual(tensors[f"logits.{n}"][:2], ("F32", [len(ids), 9]))
            alone, _ = self.logits(NER, "--", text)
            self.assertEqual(alone["logits.0"], tensors[f"logits.{n}"], "a text's logits depend on its neighbours")
            again, _ = self.logits(NER, "--ids", stdin=json.dumps(ids))
            self.assertEqual(again["logits.0"], tensors[f"logits.{n}"])

    def test_cut_at_the_limit(self):
        limit = self.json_lines("inspect", TINY, "--json")[0]["config"]["max_positions"]
        tensors, notes = self.logits(TINY, "x " * 2 * limit)
        self.assertEqual(tensors["ids.0"][1], [limit])
        self.assertIn(f"text 1: cut at {limit} tokens", notes)
        tensors, notes = self.logits(TINY, "--ids", stdin=json.dumps([1] * (limit + 1)))
        self.assertEqual(tensors["ids.0"][1], [limit])
        self.assertIn("line 1: cut", notes)

    def test_faults(self):
        out = self.folder / "out.safetensors"
        for line in ("", "x", "[]", "[1.5]", "[-1]", "[1000000]", "[99999999999999999999]", "{}", '["a"]', "[[1]]", "[1"):
            self.fails("logits", TINY, "--ids", "-o", out, stdin="[1]\n" + line + "\n", says="standard input: line 2")
            self.assertFalse(out.exists())
        self.fails("logits", TINY, "x", "-o", self.folder / "no" / "out.safetensors", says="out.safetensors")
        self.assertEqual(self.logits(TINY, stdin="")[0], {})


class Determinism(Case):
    """The promise: the same bits from every compiler, build type, instruction set and number of threads. What they are
    is in digests.json; `scripts/test.sh` runs this in every build."""

    def test_digests(self):
        self.maxDiff = None
        self.assertEqual(digests(), json.loads((ROOT / "tests" / "cli" / "digests.json").read_text()))


if __name__ == "__main__":
    unittest.main()
