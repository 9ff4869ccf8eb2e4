"""The programs that images are made of: those that the tests have built already, without what only
a debugger reads."""

import json
import pathlib
import subprocess

from harness import ROOT, Failed

# With the tests: alone they would be built with other features of what they stand on, all anew.
BUILD = ["cargo", "build", "--quiet", "--workspace", "--tests", "--message-format=json"]


def programs(names, folder):
    """Puts programs into a folder, stripped."""
    bins = [word for name in names for word in ("--bin", name)]
    built = subprocess.run(BUILD + bins, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise Failed("the programs cannot be built")
    paths = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["bin"]:
            paths[message["target"]["name"]] = message["executable"]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        subprocess.run(
            ["strip", "--strip-debug", "-o", folder / name, paths[name]], check=True
        )
