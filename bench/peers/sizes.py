"""What an engine takes on disk once it is installed."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import tempfile
from pathlib import Path


def _requirements(distribution: importlib.metadata.Distribution) -> list[str]:
    """Names of what it needs in this environment, extras left out."""
    from packaging.requirements import Requirement

    parsed = map(Requirement, distribution.requires or [])
    return [need.name for need in parsed if need.marker is None or need.marker.evaluate({"extra": ""})]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def python_packages(names: tuple[str, ...]) -> dict[str, float]:
    """MB of the named packages, of their shared libraries, and of everything that pip installs with them."""
    own_mb = libraries_mb = all_mb = 0.0
    queue, seen = list(names), set()
    own = {_normal(name) for name in names}
    while queue:
        name = _normal(queue.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on another system only
        queue += _requirements(distribution)
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if path.suffix == ".pyc" or not path.is_file():
                continue
            megabytes = path.stat().st_size / 1e6
            all_mb += megabytes
            if name in own:
                own_mb += megabytes
                libraries_mb += megabytes if ".so" in path.suffixes or path.suffix == ".so" else 0
    return {"package_mb": own_mb, "libraries_mb": libraries_mb, "with_dependencies_mb": all_mb}


def stripped_mb(path: Path) -> float:
    """MB of a program or shared library without its symbols."""
    strip = shutil.which("strip")
    if strip is None:
        raise FileNotFoundError("strip (binutils) is not installed")
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([strip, "-o", out.name, str(path.resolve())], check=True)
        return Path(out.name).stat().st_size / 1e6


def octobert(build: Path) -> dict[str, float]:
    library = build / "liboctobert.so"
    command = build / "bin" / "octobert"
    return {"libraries_mb": stripped_mb(library), "package_mb": stripped_mb(command)}
