"""octobert convert: what it writes, what it refuses, and that nothing half-written stays."""

import html
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

from common import (EXIT_BAR_NOT_MET, NER_CHECKPOINT, OCTOBERT, ROOT, TINY, TINY_CHECKPOINT, Case, environment,
                    sha256)


def spoil_tensor(folder, ending):
    """Fills a tensor whose name ends so with bytes that are NaN in every format of floats; returns its name."""
    for path in (folder / name for name in ("quantization.safetensors", "model.safetensors")):
        if not path.exists():
            continue
        data = bytearray(path.read_bytes())
        start = 8 + struct.unpack("<Q", data[:8])[0]
        for name, tensor in sorted(json.loads(data[8:start]).items()):
            if name.endswith(ending):
                begin, end = (start + offset for offset in tensor["data_offsets"])
                data[begin:end] = b"\xff" * (end - begin)
                path.write_bytes(data)
                return name
    raise AssertionError(f"{folder} has no tensor {ending}")


class Converting(Case):
    def convert(self, checkpoint, *options, **more):
        self.output = self.folder / "out.octo"
        return self.run_command("convert", checkpoint, "-o", self.output, *options, **more)

    def refused(self, checkpoint, says, *options, status=1):
        output = self.folder / "out.octo"
        before = sorted(os.listdir(self.folder))
        self.fails("convert", checkpoint, "-o", output, "--quiet", *options, says=says, status=status)
        self.assertEqual(sorted(os.listdir(self.folder)), before, "something was left behind")

    def copy(self, **fields):
        """The tiny checkpoint with these fields of config.json changed."""
        folder = self.folder / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TINY_CHECKPOINT, folder)
        config = json.loads((folder / "config.json").read_text())
        config.update(fields)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def test_same_bytes_every_time(self):
        expected = sha256(TINY)
        for options in ([], ["--threads", "1"], ["--threads", "3"], ["--no-check"], ["--isa", "scalar"]):
            self.convert(TINY_CHECKPOINT, "--quiet", *options)
            if "--no-check" not in options:
                self.assertEqual(sha256(self.output), expected, options)

    def test_summary(self):
        out = self.convert(NER_CHECKPOINT).stdout.decode()
        self.assertRegex(out, r"dynamic, \d+\.\d MB from 45\.\d MB in \d")
        self.assertRegex(out, r"agreement with the float model: \d+\.\d+ % of \d+ test tokens")
        self.assertRegex(out, r"\n  \S+ +\d+\.\d\n")

    def test_bar_that_is_not_met_writes_nothing(self):
        # Nearly equal logits, so that rounding flips labels: no 8-bit form agrees everywhere.
        self.refused(TINY_CHECKPOINT, "nothing is written", "--min-agreement", "1", status=EXIT_BAR_NOT_MET)

    def test_schemes_of_calibration_and_of_four_bits(self):
        texts = self.write("texts.txt", "".join(f"Marta lives at {i} Mill Lane, Leeds, said Piotr.\n" for i in range(40)))
        for options, scheme in (
            (["--scheme", "static", "--calibrate", "builtin"], "static"),
            (["--scheme", "static", "--calibrate", texts, "--samples", "40", "--observer", "kl"], "static"),
            (["--calibrate", texts, "--samples", "9", "--no-gptq", "--smooth-quant", "0.6", "--equalize"], "dynamic"),
            (["--weight-bits", "4"], "weight-only-int4"),
            (["--scheme", "weight-only", "--weight-bits", "4", "--group-size", "8"], "weight-only-int4"),
            (["--weight-bits", "4", "--codebook", "--calibrate", "builtin"], "weight-only-codebook"),
        ):
            out = self.convert(TINY_CHECKPOINT, *options).stdout.decode()
            self.assertIn(f": {scheme}, ", out)
            self.assertEqual("calibrated: " in out, "--calibrate" in options)
            inspected = self.json_lines("inspect", self.output, "--json")[0]["config"]
            self.assertEqual(inspected["scheme"], scheme)
            self.run_command("verify", self.output)

    def test_policy(self):
        policy = self.write("policy.json", json.dumps({
            "format": 1, "default": "dynamic", "products": {"layer.0.ffn2": "static", "layer.1.ffn1": "float"},
            "calibration": {"texts": "builtin"}, "certificate": {"budget": "agreement 0.99"}}))
        self.assertIn(f"as {policy}", self.convert(TINY_CHECKPOINT, "--policy", policy).stdout.decode())
        inspected = self.json_lines("inspect", self.output, "--json")[0]["config"]
        self.assertEqual(inspected["scheme"], "hybrid")
        self.assertEqual(inspected["products"]["static"], 1)
        self.refused(TINY_CHECKPOINT, "--policy", "--policy", policy, "--scheme", "static", status=2)
        self.refused(TINY_CHECKPOINT, ["bad.json", "layer.9.ffn1"], "--policy",
                     self.write("bad.json", '{"format": 1, "default": "dynamic", "products": {"layer.9.ffn1": "float"}}'))

    def unequal_inputs(self):
        """A checkpoint of pytorch-quantization whose query, key and value have input ranges of their own."""
        folder = self.folder / "unequal"
        shutil.copytree(ROOT / "tests/data/quantized/pytorch-quantization", folder)
        weights = bytearray((folder / "model.safetensors").read_bytes())
        header_size, = struct.unpack_from("<Q", weights)
        header = json.loads(weights[8:8 + header_size])
        for part, factor in ("key", 1.5), ("value", 0.75):
            for layer in range(2):
                name = f"bert.encoder.layer.{layer}.attention.self.{part}._input_quantizer._amax"
                at = 8 + header_size + header[name]["data_offsets"][0]
                struct.pack_into("<f", weights, at, factor * struct.unpack_from("<f", weights, at)[0])
        (folder / "model.safetensors").write_bytes(weights)
        return folder

    def test_query_key_and_value_with_inputs_of_their_own(self):
        folder = self.unequal_inputs()
        done = self.convert(folder, "--scheme", "static")
        self.assertNotIn(b"dynamic", done.stderr)
        inspected = self.json_lines("inspect", self.output, "--json")[0]["config"]
        self.assertEqual(inspected["products"], {"static": 12, "float": 1})
        texts = self.write("texts.txt", "".join(f"Marta lives at {i} Mill Lane, Leeds.\n" for i in range(9)))
        report = self.folder / "report"
        self.run_command("verify", self.output, "--against", folder, "--text", texts, "--report", report)
        self.assertIn("key's", "".join(html.unescape(page.read_text()) for page in report.glob("*.html")))
        read = subprocess.run([sys.executable, "-B", ROOT / "scripts/read_octo.py", self.output, "--json"], check=True,
                              capture_output=True)
        self.assertEqual(json.loads(read.stdout)["tensors"]["layer.1.qkv.input_inv"]["dims"], [3, 16])
        # The same schemes as a policy: calibration finds one range for all three.
        policy = self.write("policy.json", json.dumps({"format": 1, "default": "static"}))
        self.convert(folder, "--policy", policy, "--calibrate", texts)
        self.run_command("verify", self.output)
        again = self.json_lines("inspect", self.output, "--json")[0]["config"]
        self.assertEqual(again["products"], inspected["products"])

    def test_calibration_that_is_refused(self):
        self.refused(TINY_CHECKPOINT, "need calibration", "--scheme", "static")
        self.refused(TINY_CHECKPOINT, "without texts", "--gptq")
        self.refused(TINY_CHECKPOINT, "no text", "--calibrate", self.write("empty.txt", "\n\n"))
        self.refused(TINY_CHECKPOINT, "64 or more", "--calibrate", self.write("short.txt", "Yes.\n"))
        self.refused(TINY_CHECKPOINT, "--observer", "--calibrate", "builtin", "--observer", "median", status=2)
        self.refused(TINY_CHECKPOINT, "--weight-bits", "--weight-bits", "4", "--scheme", "dynamic", status=2)
        self.refused(TINY_CHECKPOINT, "--codebook", "--codebook", "--weight-bits", "8", status=2)
        self.refused(TINY_CHECKPOINT, "multiple of 8", "--weight-bits", "4", "--group-size", "12")

    def test_memory_does_not_grow_with_the_calibration_file(self):
        """A file is read, counted and read again: only the samples are kept."""
        def peak(path):
            # By a process of its own: what the one that starts another holds counts as the other's.
            measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
                       "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            command = [OCTOBERT, "convert", TINY_CHECKPOINT, "-o", self.folder / "m.octo", "--quiet", "--no-check",
                       "--threads", "1", "--calibrate", path]
            # A sanitizer keeps what was freed, unless told otherwise.
            env = environment(ASAN_OPTIONS=f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=1")
            done = subprocess.run([sys.executable, "-c", measure, *map(str, command)], env=env, check=True,
                                  stdout=subprocess.PIPE)
            return int(done.stdout) / 1024

        for name, text in ("t.txt", "marta in lisbon\n"), ("t.jsonl", '"marta in lisbon"\n'), ("t.tsv", "marta\tO\n\n"):
            small = peak(self.write(name, text * 2000))
            large = peak(self.write(name, text * (30_000_000 // len(text))))
            self.assertLess(large - small, 8, f"{name}: {small:.0f} and {large:.0f} MB")

    def test_calibration_from_a_pipe(self):
        """A file is read twice; what can be read once is refused, what standard input was opened from is not."""
        texts = self.write("texts.txt", "marta in lisbon\n" * 40)
        convert = ["convert", TINY_CHECKPOINT, "-o", self.folder / "m.octo", "--quiet", "--calibrate"]
        self.fails(*convert, "/dev/stdin", stdin=texts.read_bytes(), says="/dev/stdin: not a regular file")
        self.run_command(*convert, texts, "--samples", "40")
        expected = (self.folder / "m.octo").read_bytes()
        with texts.open("rb") as file:
            subprocess.run([OCTOBERT, *map(str, convert), "/dev/stdin", "--samples", "40"], stdin=file, check=True,
                           env=environment())
        self.assertEqual((self.folder / "m.octo").read_bytes(), expected)

    def test_settings_without_effect_and_outputs_over_inputs(self):
        texts = self.write("texts.txt", "the marta in lisbon : yes , a b c d e f g h i j k\n" * 40)
        for options in (["--calibrate", ""], ["--policy", ""], ["--weight-bits", "8", "--group-size", "24"],
                        ["--weight-bits", "4", "--codebook", "--group-size", "24"]):
            self.refused(TINY_CHECKPOINT, options[-2], *options, status=2)
        self.refused(TINY_CHECKPOINT, "up to 65536", "--weight-bits", "4", "--group-size", "65544")
        before = texts.read_bytes()
        self.fails("convert", TINY_CHECKPOINT, "-o", texts, "--calibrate", texts, says="is an input too", status=2)
        self.assertEqual(texts.read_bytes(), before)
        self.refused(TINY_CHECKPOINT, "nothing to calibrate", "--scheme", "float", "--calibrate", texts)

    def test_ranges_with_a_fault_leave_no_file_whatever_the_scheme(self):
        for form, ending in (("octobert", "output.dense.input_scale"), ("compressed-tensors-static", "input_scale"),
                             ("pytorch-quantization", "input_quantizer._amax")):
            checkpoint = self.folder / form
            shutil.copytree(ROOT / "tests" / "data" / "quantized" / form, checkpoint)
            name = spoil_tensor(checkpoint, ending)
            for scheme in ("dynamic", "weight-only", "static", "float"):
                self.fails("convert", checkpoint, "-o", self.folder / "m.octo", "--scheme", scheme,
                           says=[name, "nan", "expected finite"])
                self.assertEqual(list(self.folder.glob("*.octo")), [])

    def test_certificate_of_another_model(self):
        texts = self.write("texts.txt", "marta in lisbon\nyes\nthe q\n" * 40)
        path = self.folder / "policy.json"
        self.run_command("tune", TINY_CHECKPOINT, "-o", self.folder / "m.octo", "--text", texts, "--min-agreement",
                         "0.1", "--policy-out", path, "--calibrate", "builtin", "--samples", "64", "--quiet")
        for options, kept in (([], True), (["--observer", "mse"], False)):
            output = self.folder / "out.octo"
            done = self.run_command("convert", TINY_CHECKPOINT, "-o", output, "--policy", path, *options)
            report = self.json_lines("inspect", output, "--json")[0]["report"]
            self.assertEqual("certificate.held_out.agreement" in report, kept)
            self.assertEqual(b"certificate is left out" in done.stderr, not kept)

    def test_labels(self):
        labels = json.loads((TINY_CHECKPOINT / "config.json").read_text())["id2label"]
        names = self.write("labels.txt", "".join(f"B-X{i}\n" for i in range(len(labels))))
        self.convert(TINY_CHECKPOINT, "--labels", names, "--quiet")
        inspected = self.json_lines("inspect", self.output, "--json")[0]
        self.assertEqual(inspected["labels"], names.read_text().split())
        self.refused(TINY_CHECKPOINT, "labels.missing", "--labels", self.folder / "labels.missing")
        self.refused(TINY_CHECKPOINT, "labels", "--labels", self.write("few.txt", "O\n"))
        utf16 = "\n".join(labels.values()).encode("utf-16")
        self.refused(TINY_CHECKPOINT, ["16.txt", "looks like UTF-16"], "--labels", self.write("16.txt", utf16))
        spoilt = self.copy()
        config = spoilt / "config.json"
        config.write_bytes(config.read_text().encode("utf-16"))
        self.refused(spoilt, ["config.json", "looks like UTF-16"])
        warned = self.run_command("convert", self.copy(id2label={str(i): f"LABEL_{i}" for i in range(len(labels))}),
                                  "-o", self.folder / "w.octo", "--quiet")
        self.assertIn(b"warning", warned.stderr)
        self.assertIn(b"LABEL_0", warned.stderr)

    def test_checkpoints_with_a_fault(self):
        self.refused(self.folder / "missing", "missing")
        self.refused(self.write("file", "x"), "file")
        folder = self.copy()
        (folder / "config.json").unlink()
        self.refused(folder, "config.json")
        for content in ("", "{", "[]", "null", b"\xff\xfe", '{"hidden_size": "wide"}'):
            self.refused(self.with_config(content), "config.json")
        for field, value in (("hidden_size", 65), ("hidden_size", -1), ("hidden_size", 10**12), ("num_hidden_layers", 99),
                             ("num_attention_heads", 0), ("num_attention_heads", 7), ("vocab_size", 5),
                             ("hidden_act", "swish"), ("layer_norm_eps", "tiny"), ("max_position_embeddings", 1.5)):
            self.refused(self.copy(**{field: value}), "")
        self.refused(self.copy(model_type="roberta"), "roberta")
        self.refused(self.copy(id2label={"0": "O"}), "label")

    def with_config(self, content):
        folder = self.copy()
        (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    def test_weights_with_a_fault(self):
        weights = (TINY_CHECKPOINT / "model.safetensors").read_bytes()
        header = int.from_bytes(weights[:8], "little")
        for content, says in ((b"", "safetensors"), (weights[:7], "safetensors"), (weights[:100], "safetensors"),
                              (weights[:-1], "safetensors"), (weights + b"x", "safetensors"),
                              ((1 << 60).to_bytes(8, "little") + weights[8:], "safetensors"),
                              (weights[:8] + b"x" * header + weights[8 + header:], "safetensors"),
                              (weights.replace(b"classifier.weight", b"classifier.wight_", 1), "classifier"),
                              (weights[:-4] + b"\x00\x00\xc0\x7f", ""), (weights[:-4] + b"\x00\x00\x80\x7f", "")):
            folder = self.copy()
            (folder / "model.safetensors").write_bytes(content)
            self.refused(folder, says)
        folder = self.copy()
        (folder / "model.safetensors").unlink()
        self.refused(folder, "safetensors")
        (folder / "pytorch_model.bin").write_bytes(b"x")
        self.refused(folder, "pytorch_model.bin")

    def test_tokenizers_with_a_fault(self):
        for content in ("", "{", "[]", '{"model": {"type": "BPE"}}'):
            folder = self.copy()
            (folder / "tokenizer.json").write_text(content)
            self.refused(folder, "tokenizer.json")

    def test_outputs_that_cannot_be_written(self):
        self.fails("convert", TINY_CHECKPOINT, "-o", self.folder / "no" / "folder.octo", "--quiet", says="folder.octo")
        self.fails("convert", TINY_CHECKPOINT, "-o", self.folder, "--quiet", says=str(self.folder))
        if os.path.exists("/dev/full"):
            self.fails("convert", TINY_CHECKPOINT, "-o", "/dev/full/x.octo", "--quiet", says="/dev/full")

    def test_killed_conversion_leaves_no_file_under_the_name(self):
        for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
            output = self.folder / "killed.octo"
            with subprocess.Popen([OCTOBERT, "convert", str(NER_CHECKPOINT), "-o", str(output), "--quiet"],
                                  env=environment()) as process:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                process.wait(60)
            if output.exists():  # it was quicker
                self.run_command("verify", output)
                output.unlink()

    def test_an_old_file_stays_when_the_conversion_fails(self):
        output = self.write("old.octo", b"old")
        self.fails("convert", self.with_config("{"), "-o", output, "--quiet", says="config.json")
        self.assertEqual(output.read_bytes(), b"old")


if __name__ == "__main__":
    unittest.main()
