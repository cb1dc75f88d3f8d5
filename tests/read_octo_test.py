"""scripts/read_octo.py on the files that tests/data/format keeps: structure, values, and what is malformed.

The model is also run, in plain Python doubles and from what the reader says alone, against the logits that the file carries:
names, layouts and order of the operations are then as docs/FORMAT.md describes them. Run by ctest; python3, standard library.
"""
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import read_octo  # noqa: E402

FILES = sorted((ROOT / "tests/data/format").glob("v*.octo"))


class Reference:
    """The forward pass, one token after the other."""

    def __init__(self, model):
        self.model, self.config = model, model.config
        self.cache = {}

    def rows(self, name):
        if name not in self.cache:
            self.cache[name] = self.model.tensor(name)
        return self.cache[name]

    def column(self, name):
        return [row[0] for row in self.rows(name)]

    def product(self, name, x):
        weights, bias = self.rows(name + ".weight"), self.column(name + ".bias")
        is_float = self.model.products[name] == "float"
        scales = [1.0] * len(bias) if is_float else self.column(name + ".scale")
        return [b + s * sum(w * v for w, v in zip(row, x)) for row, s, b in zip(weights, scales, bias)]

    def norm(self, name, x):
        mean = sum(x) / len(x)
        variance = sum((v - mean) ** 2 for v in x) / len(x)
        inverse = 1 / math.sqrt(variance + self.config["layer_norm_eps"])
        return [(v - mean) * inverse * g + b
                for v, g, b in zip(x, self.column(name + ".gamma"), self.column(name + ".beta"))]

    def attention(self, qkv):
        d, heads = self.config["hidden_size"], self.config["head_count"]
        size = d // heads
        context = [[] for _ in qkv]
        for h in range(heads):
            q, k, v = ([row[part * d + h * size:part * d + (h + 1) * size] for row in qkv] for part in range(3))
            for i, query in enumerate(q):
                p = [math.exp(sum(a * b for a, b in zip(query, key)) / math.sqrt(size)) for key in k]
                context[i] += [sum(w * row[c] for w, row in zip(p, v)) / sum(p) for c in range(size)]
        return context

    def logits(self, ids):
        words, scales = self.rows("embeddings.word"), self.column("embeddings.word.scale")
        positions, types = self.rows("embeddings.position"), self.rows("embeddings.type")
        hidden = [self.norm("embeddings.norm", [w * scales[t] + y + p
                                                for w, p, y in zip(words[t], positions[i], types[0])])
                  for i, t in enumerate(ids)]
        for n in range(self.config["layer_count"]):
            layer = f"layer.{n}."
            context = self.attention([self.product(layer + "qkv", x) for x in hidden])
            for i, x in enumerate(hidden):
                y = self.product(layer + "attention_output", context[i])
                x = self.norm(layer + "attention_norm", [a + b for a, b in zip(x, y)])
                y = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in self.product(layer + "ffn1", x)]
                y = self.product(layer + "ffn2", y)
                hidden[i] = self.norm(layer + "ffn_norm", [a + b for a, b in zip(x, y)])
        return [value for x in hidden for value in self.product("classifier", x)]


class ReadOctoTest(unittest.TestCase):
    def test_there_are_files(self):
        self.assertGreaterEqual(len(FILES), 1)

    def test_structure(self):
        model = read_octo.PackedModel((ROOT / "tests/data/format/v1.octo").read_bytes())
        self.assertEqual(model.version, 1)
        self.assertEqual(model.config["hidden_size"], 28)
        self.assertEqual(model.config["scheme"], "dynamic")
        self.assertEqual(model.labels, ["O", "B-L1", "B-L2", "B-L3", "B-L4"])
        self.assertEqual(model.tokens[:6], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a"])
        self.assertEqual(model.products["layer.1.ffn2"], "weight-only")
        self.assertEqual(model.vectors[1]["ids"][0], 2)
        self.assertEqual(dict(zip(*[iter(model.strings(7))] * 2))["made_by"], "tests/tiny_model.cpp")

    def test_sums_are_those_of_the_weights(self):
        for path in FILES:
            model = read_octo.PackedModel(path.read_bytes())
            names = [n[:-len(".sum")] for n in model.tensors if n.endswith(".sum")]
            self.assertTrue(names)
            for name in names:
                sums = [row[0] for row in model.tensor(name + ".sum")]
                weights = model.tensor(name + ".weight")
                self.assertEqual(sums, [sum(row) for row in weights] + [0] * (len(sums) - len(weights)), name)

    def test_the_model_gives_the_logits_of_its_vectors(self):
        for path in FILES:
            model = read_octo.PackedModel(path.read_bytes())
            reference = Reference(model)
            self.assertTrue(model.vectors)
            for vector in model.vectors:
                expected = vector["logits"]
                found = reference.logits(vector["ids"])
                worst = max(abs(a - b) for a, b in zip(expected, found)) / max(map(abs, expected))
                self.assertEqual(len(found), len(expected))
                self.assertLess(worst, 0.1, vector["text"])  # rounding to int8; a wrong reading is off by 1

    def test_malformed_files(self):
        good = (ROOT / "tests/data/format/v1.octo").read_bytes()
        for length in [0, 63, 64, 100, 800, len(good) // 2, len(good) - 1]:
            with self.assertRaises(read_octo.Malformed, msg=f"cut to {length}"):
                read_octo.PackedModel(good[:length])
        u64 = struct.Struct("<Q").pack
        for offset, value in [(0, b"X"), (8, b"\2"), (16, b"\xff\xff"), (20, b"\0"), (24, u64(1)), (50, b"\1"),
                              (64, b"\x63"), (68, b"\2"), (72, u64(0)), (72, u64(1 << 60)), (80, u64(1 << 60)),
                              (96, b"\x1b"), (127, b"x")]:
            bad = bytearray(good)
            bad[offset:offset + len(value)] = value
            with self.assertRaises(read_octo.Malformed, msg=f"byte {offset}"):
                read_octo.PackedModel(bytes(bad))

    def test_command(self):
        def run(*arguments):
            return subprocess.run([sys.executable, str(ROOT / "scripts/read_octo.py"), *map(str, arguments)],
                                  capture_output=True, text=True, check=False)

        good = run(FILES[0])
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("layer.1.ffn1.weight", good.stdout)
        self.assertEqual(run(FILES[0], "--json").returncode, 0)
        self.assertEqual(len(run(FILES[0], "--tensor", "classifier.weight").stdout.splitlines()), 5)
        with tempfile.TemporaryDirectory() as folder:
            empty = pathlib.Path(folder) / "empty.octo"
            empty.touch()
            bad = run(empty)
            self.assertEqual(bad.returncode, 1)
            self.assertIn("too short", bad.stderr)
            self.assertNotIn("Traceback", bad.stderr)


if __name__ == "__main__":
    unittest.main()
