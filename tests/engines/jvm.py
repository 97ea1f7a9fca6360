"""Runs Java code of OpenSearch in a separate process with a JVM, with JSON as input and output."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.engines import parts
from tests.engines.search import MODULES, RELEASES

ROOT = Path(__file__).parents[2]
Artifact = tuple[str, str, str]
"""Group, name and version of an artifact of Maven Central."""


def call(function: str, artifacts: list[Artifact], given: object, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    """Call a function in a process with a JVM, and return its result.

    :param function: ``module:name``; it gets ``given`` and ``arguments``, and finds classes by ``jpype``.
    :param artifacts: what is on the class path beside the libraries of OpenSearch.
    :raises ValueError: the function failed.
    """
    jars = [parts.maven(*one) for one in artifacts]
    group, version = RELEASES["opensearch"]
    jars += sorted(
        (parts.distribution(group, "opensearch", version, MODULES["opensearch"]) / "lib").glob("*.jar")
    )
    task = {"function": function, "arguments": arguments, "given": given, "jars": list(map(str, jars))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.jvm", str(parts.java())],
        input=json.dumps(task),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise ValueError(done.stderr[-3000:])
    return json.loads(done.stdout)


def _main(home: str) -> None:
    import jpype  # noqa: PLC0415

    task = json.load(sys.stdin)
    jvm = next(Path(home).rglob("libjvm.so"))
    jpype.startJVM(str(jvm), "-Xmx256m", classpath=task["jars"], convertStrings=False)
    module, _, name = task["function"].partition(":")
    made = getattr(importlib.import_module(module), name)(task["given"], *task["arguments"])
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    _main(*sys.argv[1:])
