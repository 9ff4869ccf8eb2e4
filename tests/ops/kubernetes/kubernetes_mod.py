"""Writes a go.mod with which the programs of Kubernetes build from published modules.

Kubernetes requires the modules of its own source tree as v0.0.0 and replaces them by folders that
its module does not have. Here each is replaced by its published version. Arguments: the version of
Kubernetes, and its own go.mod.
"""

import pathlib
import re
import sys

# Modules of which the same patch version is not published: the nearest that is.
OTHER = {"k8s.io/cli-runtime": "v0.34.2", "k8s.io/kube-proxy": "v0.34.5"}
# Examples and generators, which no program needs.
UNUSED = {
    "k8s.io/sample-apiserver",
    "k8s.io/sample-cli-plugin",
    "k8s.io/sample-controller",
    "k8s.io/code-generator",
}


def main() -> None:
    version, text = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
    head, replaced = text.split("replace (")
    modules = set(re.findall(r"^\s+(k8s\.io/\S+) =>", replaced, re.MULTILINE)) - UNUSED
    head = re.sub(r"^module .*", "module kubernetes-programs", head, flags=re.MULTILINE)
    head = re.sub(r"^godebug .*$", "", head, flags=re.MULTILINE)
    for module in UNUSED:
        head = re.sub(rf"^\s+{re.escape(module)} v0\.0\.0.*\n", "", head, flags=re.MULTILINE)
    published = f"v0.{version.split('.', 1)[1]}"
    lines = []
    for module in sorted(modules):
        chosen = OTHER.get(module, published)
        head = re.sub(
            rf"^(\s+){re.escape(module)} v0\.0\.0",
            rf"\g<1>{module} {chosen}",
            head,
            flags=re.MULTILINE,
        )
        lines.append(f"\t{module} => {module} {chosen}\n")
    print(f"{head}\nrequire k8s.io/kubernetes v{version}\n\nreplace (\n{''.join(lines)})")


main()
