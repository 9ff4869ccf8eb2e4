"""Whether Grafana could read what it is given: its boards, by its own types, and the files that name
them and Prometheus. Grafana itself is in no package registry."""

import pathlib
import re
import shutil
import tempfile

from harness import ROOT, must, run

BOARDS = ROOT / "helm/theatre/files/boards"
PROVISIONING = ROOT / "compose/grafana/provisioning"
COMPOSE = ROOT / "compose/compose.yaml"

# Keys of the files of provisioning, which Grafana passes over where it does not know them.
KNOWN = {
    "dashboards": {
        "apiVersion", "providers", "name", "folder", "folderUid", "type", "disableDeletion",
        "allowUiUpdates", "updateIntervalSeconds", "options", "path", "foldersFromFilesStructure",
    },
    "datasources": {
        "apiVersion", "datasources", "name", "uid", "type", "access", "url", "isDefault",
        "editable", "jsonData", "timeInterval", "httpMethod",
    },
}  # fmt: skip

# Faults of a board, each of which has to be found.
FAULTS = [
    ('"h": 8', '"h": "8"'),
    ('"gridPos"', '"gridPoss"'),
    ('"targetBlank": false', '"targetBlank": "no"'),
    ('      "icon": "external link",\n', ""),
]


def npm_is_there():
    return shutil.which("node") and shutil.which("npm")


def wrong_types(tools, texts):
    """What the types of Grafana's boards say against some, by name; empty if they are right."""
    # Where the compiler finds the types: above the files.
    with tempfile.TemporaryDirectory(dir=tools) as folder:
        files = []
        for name, text in texts.items():
            file = pathlib.Path(folder) / f"{name}.ts"
            file.write_text(
                "import type { Dashboard } from '@grafana/schema';\n"
                f"export const board = {text.strip()} satisfies Partial<Dashboard>;\n"
            )
            files.append(file)
        done = run(
            tools / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
            "--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022",
            *files, check=False,
        )  # fmt: skip
        must((done.returncode == 0) == (not done.stdout.strip()), done.stdout)
        return done.stdout.strip()


def boards_have_the_types_of_grafana(tools):
    texts = {path.stem: path.read_text() for path in sorted(BOARDS.glob("*.json"))}
    must(len(texts) > 3, f"only {len(texts)} boards are there")
    said = wrong_types(tools, texts)
    must(not said, said)
    planted = {}
    for number, (there, fault) in enumerate(FAULTS):
        must(there in texts["fleet"], f"the board has no {there}")
        planted[f"fault{number}"] = texts["fleet"].replace(there, fault, 1)
    said = wrong_types(tools, planted)
    passed = [FAULTS[int(name[5:])] for name in planted if f"{name}.ts(" not in said]
    must(not passed, f"passed over: {passed}")


def unknown_keys(kind, text):
    return set(re.findall(r"^[ -]*(\w+):", text, re.M)) - KNOWN[kind]


def grafana_is_given_what_is_there():
    texts = {}
    for kind in KNOWN:
        (file,) = (PROVISIONING / kind).glob("*.yaml")
        texts[kind] = file.read_text()
        must("apiVersion: 1\n" in texts[kind], f"{file} has no version")
        must(not unknown_keys(kind, texts[kind]), f"{file}: {unknown_keys(kind, texts[kind])}")
    must(unknown_keys("dashboards", "    option:\n") == {"option"}, "a key was passed over")
    compose = COMPOSE.read_text()
    path = re.search(r"path: (\S+)", texts["dashboards"])[1]
    mounted = f"../{BOARDS.relative_to(ROOT)}:{path}:ro"
    must(mounted in compose, f"boards are looked for in {path}: no mount {mounted}")
    must("./grafana/provisioning:/etc/grafana/provisioning:ro" in compose, "no provisioning")
    service, port = re.search(r"url: http://([\w-]+):(\d+)", texts["datasources"]).groups()
    asked = re.search(rf"^  {service}:\n(?:    .*\n|\n)+", compose, re.M)
    must(asked and f":{port}" in asked[0], f"there is no service {service} with port {port}")
    must("type: prometheus\n" in texts["datasources"], "the boards ask a Prometheus")
