"""Makes the JSON schemas of kubernetes-validate usable for kubeconform.

kubeconform cannot resolve the ids of these schemas, nor their references to a file by an absolute
path. Arguments: a minor version of Kubernetes, and the folder to write.
"""

import json
import pathlib
import sys

import kubernetes_validate


def main() -> None:
    version, target = sys.argv[1], pathlib.Path(sys.argv[2])
    package = pathlib.Path(kubernetes_validate.__file__).parent
    found = sorted(package.glob(f"kubernetes-json-schema/v{version}.*-local-strict"))
    if not found:
        sys.exit(f"kubernetes-validate has no schemas of Kubernetes {version}")
    target.mkdir(parents=True)
    for path in found[-1].glob("*.json"):
        text = path.read_text().replace('"/api/_definitions.json#', '"_definitions.json#')
        schema = json.loads(text)
        if isinstance(schema, dict):
            schema.pop("$id", None)
        (target / path.name).write_text(json.dumps(schema))


main()
