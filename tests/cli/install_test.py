"""The installed package: examples/ built against it as a user would, and the sizes that are promised."""

import os
import pathlib
import shutil
import subprocess
import unittest

from common import NER, ROOT, SENTENCE, TINY, TINY_CHECKPOINT, Case, sha256

BUILD = pathlib.Path(os.environ["OCTOBERT_BUILD"])
CXX = os.environ["OCTOBERT_CXX"]
LARGEST_LIBRARY = 1_500_000  # bytes, stripped
LARGEST_COMMAND = 5_000_000


def run(*command, **more):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode()


class Installed(Case):
    def setUp(self):
        super().setUp()
        self.prefix = self.folder / "prefix"
        run("cmake", "--install", BUILD, "--prefix", self.prefix)

    def test_examples(self):
        # A copy: nothing in the source tree can be found from it.
        examples, build = self.folder / "examples", self.folder / "build"
        shutil.copytree(ROOT / "examples", examples)
        run("cmake", "-S", examples, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={CXX}",
            "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wconversion -Werror")
        run("cmake", "--build", build)
        rows = [line.split("\t") for line in run(build / "entities", NER, SENTENCE).splitlines()]
        self.assertEqual(rows, [["PER", "Angela Merkel", "0", "13"], ["PER", "Tim Cook", "18", "26"],
                                ["ORG", "Apple", "30", "35"], ["LOC", "Cupertino", "54", "63"]])
        tokens = [line.split("\t") for line in run(build / "logits", NER, SENTENCE).splitlines()]
        self.assertEqual(tokens[:4], [["[CLS]", "O"], ["angela", "B-PER"], ["mer", "I-PER"], ["##kel", "I-PER"]])
        self.assertIn("liboctobert.so", run("readelf", "-d", build / "logits"))
        self.assertNotIn("liboctobert", run("readelf", "-d", build / "entities"))
        output = self.folder / "converted.octo"
        run(build / "convert", TINY_CHECKPOINT, output)
        self.assertEqual(sha256(output), sha256(TINY))

    def test_what_is_installed(self):
        files = sorted(str(p.relative_to(self.prefix)) for p in self.prefix.rglob("*") if p.is_file())
        headers = [f for f in files if f.endswith(".h")]
        self.assertEqual(headers, sorted(f"include/octobert/{p.name}" for p in (ROOT / "include/octobert").iterdir()))
        self.assertIn("bin/octobert", files)
        for header in headers:  # each by itself
            run(CXX, "-std=c++20", "-fsyntax-only", "-x", "c++", self.prefix / header, "-I", self.prefix / "include")

    def test_the_shared_library_exports_its_api_alone(self):
        library = next(p for p in self.prefix.rglob("liboctobert.so.*") if p.is_file())
        symbols = run("nm", "-DC", "--defined-only", library).splitlines()
        names = [line.split(" ", 2)[2] for line in symbols]
        # Instances of the standard library's templates are weak and everybody's.
        own = [name for name, line in zip(names, symbols) if line.split(" ", 2)[1] not in "VWu"]
        self.assertGreater(len(own), 20)
        for name in own:
            self.assertRegex(name, r"^((vtable|typeinfo|typeinfo name) for )?octobert::(Engine|Workspace|Tokenizer|Encoding|"
                                   r"Error|Executor|ThreadPool|compiled_isas|usable_cores|parse_strategy)\b")

    def test_sizes(self):
        for pattern, most in (("liboctobert.so.*", LARGEST_LIBRARY), ("bin/octobert", LARGEST_COMMAND)):
            path = next(p for p in self.prefix.glob(f"**/{pattern}") if p.is_file() and not p.is_symlink())
            stripped = self.folder / "stripped"
            run("strip", "-o", stripped, path)
            size = stripped.stat().st_size
            print(f"{path.name}: {size} bytes stripped, at most {most}")
            self.assertLessEqual(size, most)


if __name__ == "__main__":
    unittest.main()
