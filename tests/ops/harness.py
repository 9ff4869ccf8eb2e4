"""What the groups of the ops tests share: tests that are counted, and programs that are run."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPS = ROOT / "tests" / "ops"


class Group:
    """Tests that run one after another. Their lines are those of cargo, so that they are counted
    with the others."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.began = time.monotonic()

    @contextlib.contextmanager
    def test(self, name, after_failure=None):
        """A test: what is raised in it fails it, and `after_failure` may say more."""
        began = time.monotonic()
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            self.failed += 1
            print(f"---- {name}", file=sys.stderr)
            if not isinstance(error, Failed):
                traceback.print_exc()
            print(f"{error}", file=sys.stderr)
            if after_failure:
                after_failure()
            print(f"test {self.name}::{name} ... FAILED", flush=True)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self.passed += 1
            took = time.monotonic() - began
            print(f"test {self.name}::{name} ... ok ({took:.1f} s)", flush=True)

    def left_out(self, what, why):
        """Says loudly what was not looked at. Where it was asked for, that is a failure."""
        print(f"== LEFT OUT: {what}: {why}", file=sys.stderr, flush=True)
        if asked_for():
            self.failed += 1
            print(f"test {self.name}::{what.replace(' ', '_')} ... FAILED", flush=True)

    def close(self):
        """Prints the line that is counted; the exit code of the group."""
        took = time.monotonic() - self.began
        verdict = "FAILED" if self.failed else "ok"
        print(
            f"\ntest result: {verdict}. {self.passed} passed; {self.failed} failed; 0 ignored; "
            f"0 measured; 0 filtered out; finished in {took:.2f}s\n",
            flush=True,
        )
        return 1 if self.failed else 0


def asked_for():
    """Whether somebody has asked for what is run, and not only for what is quick."""
    return os.environ.get("THEATRE_OPS") == "1"


class Failed(Exception):
    """What a test found."""


def must(holds, what):
    """Fails the test unless something holds."""
    if not holds:
        raise Failed(what)


def run(*command, check=True, timeout=600, **options):
    """Runs a program and gives what it printed, both streams together."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        **options,
    )
    if check and done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise Failed(f"{words} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done


def eventually(what, holds, patience=120, pause=0.5):
    """Waits until something holds; says what was seen last if it never does. What `holds` raises
    counts as not yet."""
    until = time.monotonic() + patience
    seen = None
    while time.monotonic() < until:
        try:
            seen = holds()
            if seen:
                return seen
        except (Failed, OSError, ValueError, KeyError) as error:
            seen = error
        time.sleep(pause)
    raise Failed(f"not within {patience} s: {what}; last: {seen}")


def tool(name):
    """Installs a tool group of tests/ops/tools and gives what it printed."""
    done = subprocess.run(
        [OPS / "tools" / name], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def cache():
    """Where tools and images are kept."""
    usual = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return pathlib.Path(os.environ.get("THEATRE_OPS_CACHE") or usual / "theatre-ops")
