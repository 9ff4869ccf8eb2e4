"""What the tests of the chart share: a list of tests, and commands that are run."""

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))

from harness import ROOT, Failed, Group, eventually, must  # noqa: E402, F401

CHART = ROOT / "helm" / "theatre"
EXAMPLES = {
    path.stem.removeprefix("values-"): path
    for path in sorted((CHART / "examples").glob("values-*.yaml"))
}
# Whether snapshots are written and not compared.
renew = False

_tests = []
# The tests that run, once they do.
group = Group("ops::kubernetes")
_ends = []


def test(function):
    """Marks a test: a function without arguments that raises where it finds something."""
    _tests.append(function)
    return function


def at_the_end(function):
    """What is called after all tests, the last first, whatever became of them."""
    _ends.append(function)


def once(function):
    """A function without arguments whose first answer is kept, or its first failure."""
    kept = []

    @functools.wraps(function)
    def call_once():
        if not kept:
            try:
                kept.append((function(), None))
            except Exception as error:
                kept.append((None, error))
        answer, error = kept[0]
        if error is not None:
            raise error
        return answer

    return call_once


def run(highest: int, only: str) -> int:
    """Runs the tests of the levels up to one with a text in their names, such as `level2::`; 0 if
    all passed."""
    levels = [f"level{level}" for level in range(highest + 1)]
    chosen = [
        one
        for one in _tests
        if one.__module__ in levels and only in f"{one.__module__}::{one.__name__}"
    ]
    print(f"\nrunning {len(chosen)} tests of the chart", flush=True)
    try:
        for one in chosen:
            with group.test(f"{one.__module__}::{one.__name__}"):
                one()
    finally:
        for end in reversed(_ends):
            try:
                end()
            except Exception as error:
                with group.test(end.__name__):
                    raise error
    return group.close() or int(not chosen)


@once
def paths() -> dict:
    """The programs that `tools` got, by name."""
    lines = pathlib.Path(os.environ["THEATRE_OPS_PATHS"]).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@once
def work() -> pathlib.Path:
    """A folder for what the tests write; gone afterwards."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="theatre-chart-"))

    def remove_folder():
        shutil.rmtree(folder, ignore_errors=True)

    at_the_end(remove_folder)
    return folder


def call(*command, text=None, env=None, timeout=120, check=True) -> subprocess.CompletedProcess:
    """Runs a command; fails with what it says unless it ends well."""
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        text=True,
        # What a consumer prints is Avro.
        errors="replace",
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )
    if check and done.returncode != 0:
        said = (done.stdout[-2000:] + done.stderr[-4000:]).strip()
        line = " ".join(str(word) for word in command)
        raise Failed(f"{line}\nended with {done.returncode}: {said}")
    return done


def refused(what: str, *command, **options) -> None:
    """Runs a command that has to fail, and to say a text."""
    done = call(*command, check=False, **options)
    said = done.stdout + done.stderr
    must(done.returncode != 0, f"not refused: {' '.join(str(word) for word in command)}")
    must(what in " ".join(said.split()), f"refused without saying '{what}': {said[-2000:]}")


def log(text: str) -> None:
    """A line for the person who looks on."""
    print(f"== {text}", file=sys.stderr, flush=True)
