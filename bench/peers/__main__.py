"""Runs the comparison: `python -m peers --help`; run.sh makes the environment that it needs."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path

from . import cells, engines, machine, models, parts, report, texts
from .results import Results

PARTS = ("cells", "float", "held", "text", "start", "convert", "tokenizers", "sizes")
ROUNDS, SECONDS = 5, 0.5
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.1


def thread_counts(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if min(numbers) < 1:
        raise ValueError
    return numbers


def parse() -> argparse.Namespace:
    description = __doc__.split(":")[0] + "."
    parser = argparse.ArgumentParser(prog="bench/peers/run.sh", description=description, allow_abbrev=False)
    names = parser.add_argument
    names("--quick", action="store_true", help="minilm, few cells, short turns: does everything run?")
    names("--models", help=f"of {','.join(models.MODEL_NAMES)}; default: all")
    names("--threads", type=thread_counts, help="default: 1,2")
    names("--cells", help=f"of {','.join(cells.CELL_NAMES)}; default: all")
    names("--engines", help=f"of {','.join(engines.NAMES)}; default: each one's best")
    names("--parts", help=f"of {','.join(PARTS)}; default: all")
    names("--rounds", type=int, help=f"turns of each engine in each cell; default: {ROUNDS}")
    names("--seconds", type=float, help=f"of a turn, about; default: {SECONDS}")
    names("--peers-only", action="store_true", help="without octobert")
    names("--work", type=Path, required=True, help=argparse.SUPPRESS)  # checkpoints, exported models, results
    names("--build", type=Path, required=True, help=argparse.SUPPRESS)  # octobert's build directory
    names("--report", type=Path, metavar="RESULTS.json", help="only print the report of an earlier run")
    names("--check", action="store_true", help=argparse.SUPPRESS)  # run.sh's: are the arguments right?
    return parser.parse_args()


def listed(text: str | None, known: tuple[str, ...], default: tuple[str, ...], option: str) -> tuple[str, ...]:
    if text is None:
        return default
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            sys.exit(f"{option}: there is no {name!r}; there are {', '.join(known)}")
    return names


def settings_of(arguments: argparse.Namespace) -> parts.Settings:
    quick = arguments.quick
    default_engines = tuple(dict.fromkeys((*engines.INT8, *engines.FLOAT)))
    cores = len(machine.describe()["cores"])
    threads = arguments.threads or ((1,) if quick else (1, 2))
    if max(threads) > cores:
        sys.exit(f"--threads: {max(threads)} threads asked for, this process may use {cores} cores")
    default_models = ("minilm",) if quick else models.MODEL_NAMES
    return parts.Settings(
        work=arguments.work.resolve(),
        build=arguments.build.resolve(),
        models=listed(arguments.models, models.MODEL_NAMES, default_models, "--models"),
        threads=threads,
        cells=listed(arguments.cells, cells.CELL_NAMES, cells.QUICK_CELLS if quick else cells.CELL_NAMES, "--cells"),
        engines=listed(arguments.engines, engines.NAMES, default_engines, "--engines"),
        parts=listed(arguments.parts, PARTS, PARTS, "--parts"),
        rounds=arguments.rounds or (QUICK_ROUNDS if quick else ROUNDS),
        seconds=arguments.seconds or (QUICK_SECONDS if quick else SECONDS),
        quick=quick,
        with_octobert=not arguments.peers_only,
    )


def commit() -> str:
    """Of the sources, marked if they were changed since; "" outside a repository."""
    done = subprocess.run(
        ["git", "-C", str(models.REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def new_results(settings: parts.Settings) -> Results:
    now = datetime.datetime.now()
    path = settings.work / "results" / f"{now:%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    sentences = texts.stream()
    data = {
        "date": f"{now:%Y-%m-%d}",
        "machine": machine.describe(),
        "command": shlex.join(["bench/peers/run.sh", *_without_places(sys.argv[1:])]),
        "commit": commit(),
        "quick": settings.quick,
        "stream": {"sentences": len(sentences), "tokens": sum(map(texts.token_count, sentences))},
    }
    return Results(data, path)


def _without_places(arguments: list[str]) -> list[str]:
    """The command as a reader would give it: run.sh adds the directories."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument not in ("--work", "--build"):
            kept.append(argument)
        skip = argument in ("--work", "--build")
    return kept


def report_not_installed(results: Results) -> None:
    """What run.sh could not install, with pip's reason; and versions other than the pinned ones."""
    failed = Path(sys.prefix) / "not-installed.txt"
    for line in failed.read_text().splitlines() if failed.exists() else []:
        name, _, reason = line.partition(": ")
        parts.fail(results, name, reason)
    for line in (Path(__file__).parent / "requirements.txt").read_text().splitlines():
        name, pinned, wanted = line.partition("==")
        if not pinned:
            continue
        try:
            found = importlib.metadata.version(name).split("+")[0]  # "+cpu" and the like are builds of one version
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != wanted:
            parts.fail(results, f"{name} {wanted}", f"the environment has {found}")


def main() -> None:
    arguments = parse()
    if arguments.report:
        if not arguments.report.is_file():
            sys.exit(f"--report: there is no {arguments.report}")
        print(report.markdown(Results.read(arguments.report)), end="")
        return
    settings = settings_of(arguments)
    if arguments.check:
        return
    parts.set_build(settings.build)
    results = new_results(settings)
    report_not_installed(results)
    prepared = [models.prepare_model(name, settings.work) for name in settings.models]
    for model in prepared:
        parts.measure_model(model, settings, results)
    if "tokenizers" in settings.parts:
        parts.measure_tokenizers(prepared[-1], settings, results)
    if "sizes" in settings.parts:
        parts.measure_sizes(settings, results)
    results.save()
    text = report.markdown(results)
    assert results.path
    results.path.with_suffix(".md").write_text(text)
    print(text, end="")
    parts.say(f"\n{results.path}\n{results.path.with_suffix('.md')}")


if __name__ == "__main__":
    main()
