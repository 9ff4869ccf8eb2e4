#!/usr/bin/env python3
"""Which files each group tries, and so which groups a change wants run.

    groups.py changed COMMIT   those whose files differ from a commit, as a JSON list for workflows;
                               all where the commit is not known
    groups.py due              those that have not passed on this machine with the files of now
    groups.py passed GROUP     remembers that one has, in the cache

A group tries the program, too, which nearly every change changes: every night all of them run."""

import hashlib
import json
import subprocess
import sys

from harness import OPS, ROOT, cache

# What every group stands on.
COMMON = ["tests/ops/cache.sh", "tests/ops/groups.py", "tests/ops/harness.py", "tests/ops/run"]
IMAGES = [".dockerignore", "Dockerfile", "tests/ops/engine", "tests/ops/images", "tests/ops/tools"]
RULES = ["helm/theatre/files"]
# Patterns of git, by group.
FILES = {
    "compose": [*IMAGES, *RULES, "compose", "tests/ops/compose", "tests/ops/programs.py"],
    "infra": ["infra", "tests/ops/infra", "tests/ops/tools/infra"],
    "kubernetes": [*IMAGES, "helm", "tests/ops/kubernetes", "tests/ops/programs.py"],
    "lint": ["*"],
    "notify": ["runtime/notify", "tests/ops/notify", "tests/ops/tools/alertmanager"],
    "source": [*IMAGES, "Cargo.toml", "rust-toolchain.toml", "tests/ops/source"],
    "traces": ["runtime/telemetry", "tests/ops/tools/collector", "tests/ops/traces"],
    "watch": [
        *RULES,
        "compose/grafana",
        "compose/prometheus",
        "docs/metrics.md",
        "docs/runbooks",
        "tests/ops/rules",
        "tests/ops/tools/alertmanager",
        "tests/ops/watch",
    ],
}
# They run with every change, or only when they are named.
APART = ("lint", "source")


def git(*words):
    """What git says; nothing where it fails."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def changed(commit):
    """Groups whose files differ from those of a commit; all that can differ where it is unknown."""
    groups = [name for name in FILES if name not in APART]
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return groups
    compare = ["diff", "--name-only", commit, "--", *COMMON]
    return [name for name in groups if git(*compare, *FILES[name]) != ""]


def digest(name):
    """The files of a group as one number, also those that are not committed yet."""
    files = ["ls-files", "--cached", "--others", "--exclude-standard", "--", *COMMON]
    listed = git(*files, *FILES[name]) or ""
    found = hashlib.sha256()
    for file in sorted(set(listed.split("\n")) - {""}):
        path = ROOT / file
        if path.is_file():
            found.update(f"{file}\0{path.stat().st_mode:o}\0{path.stat().st_size}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def remembered(name):
    """Where it is kept with which files a group has passed."""
    return cache() / "passed" / name


def due():
    """Groups that have not passed here with the files of now."""
    left = []
    for name in FILES:
        kept = remembered(name)
        if name not in APART and not (kept.exists() and kept.read_text() == digest(name)):
            left.append(name)
    return left


def main(words):
    match words:
        case ["changed", commit]:
            print(json.dumps(changed(commit)))
        case ["due"]:
            print(*due())
        case ["passed", name] if (OPS / name / "run").exists():
            remembered(name).parent.mkdir(parents=True, exist_ok=True)
            remembered(name).write_text(digest(name))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
