"""bench --profile."""

import unittest

from common import MODELS, NER, Case

LAYERS = 6  # of NER
IN_LAYERS = {"qkv", "attention", "attention_output", "attention_norm", "ffn1", "quantize_ffn", "ffn2", "ffn_norm"}
PRODUCTS = {"qkv", "attention", "attention_output", "ffn1", "ffn2", "classifier"}
WITH_PEAK = ("avx2", "avx_vnni", "avx512_vnni")  # instruction sets whose ceilings the bench knows


class Profile(Case):
    def profile(self, model, *options, shapes="1x32"):
        return self.json_lines("bench", model, "--shapes", shapes, "--seconds", "0.1", "--profile", "--json", *options)

    def test_json(self):
        whole, *lines, every = self.profile(NER, "--threads", "1")
        self.assertEqual({line["shape"] for line in [whole, *lines, every]}, {"1x32"})
        self.assertEqual((every["operation"], every["layer"]), ("all", None))
        self.assertEqual({line["layer"] for line in lines}, {None, *range(LAYERS)})
        for layer in range(LAYERS):
            self.assertLessEqual(IN_LAYERS, {line["operation"] for line in lines if line["layer"] == layer})
        self.assertLessEqual({"embeddings", "classifier"},
                             {line["operation"] for line in lines if line["layer"] is None})
        for line in lines:
            self.assertGreater(line["ms"], 0)
            self.assertEqual("gmac_per_s" in line, line["operation"] in PRODUCTS, line)

    def test_sums(self):
        for threads in (1, 2):
            whole, *lines, every = self.profile(NER, "--threads", threads)
            # Operations lie within the call, and are most of it where no thread waits for another.
            operations = sum(line["ms"] for line in lines)
            self.assertLessEqual(operations, every["ms"])
            if threads == 1:
                self.assertGreater(operations, 0.5 * every["ms"])
            work = sum(line["gmac_per_s"] * line["ms"] for line in lines if "gmac_per_s" in line)
            self.assertAlmostEqual(every["gmac_per_s"] * every["ms"] / work, 1)
            self.assertAlmostEqual(whole["gmac_per_s"] * whole["median_ms"] / work, 1)

    def test_shares(self):
        for name in ("minilm-ner", "tiny-float", "tiny-weight-only", "tiny-static"):
            whole, *lines, every = self.profile(MODELS / f"{name}.octo", "--threads", "1")
            shares = [line for line in [*lines, every] if "share_of_peak" in line]
            for line in shares:
                self.assertTrue(0 < line["share_of_peak"] < 3, line)  # a busy machine takes from the peak, too
            if whole["isa"] in WITH_PEAK:
                self.assertEqual({line["operation"] for line in shares} - {"classifier"},
                                 PRODUCTS - {"classifier"} | {"all"})
                at_peak = sum(line["share_of_peak"] * line["ms"] for line in shares if line is not every)
                self.assertAlmostEqual(every["share_of_peak"] * every["ms"] / at_peak, 1)

    def test_each_shape(self):
        lines = self.profile(MODELS / "tiny.octo", shapes="1x4,3x7")
        self.assertEqual([line["shape"] for line in lines if line.get("operation") == "all"], ["1x4", "3x7"])

    def test_only_the_peak_that_is_used(self):
        for name, used, other in (("tiny", "int8", "float"), ("tiny-float", "float", "int8")):
            done = self.run_command("bench", MODELS / f"{name}.octo", "--shapes", "1x16", "--seconds", "0.01",
                                    "--profile")
            text = done.stdout.decode()
            self.assertNotIn(f"GMAC/s {other}", text)
            if self.profile(MODELS / f"{name}.octo")[0]["isa"] in WITH_PEAK:
                self.assertIn(f"GMAC/s {used}", text)


if __name__ == "__main__":
    unittest.main()
