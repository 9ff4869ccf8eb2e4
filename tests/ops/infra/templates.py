"""The templates as data, with what the tests ask of them."""

import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"
TEMPLATES = INFRA / "templates"


class Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation's functions."""


def short_form(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


Loader.add_multi_constructor("!", short_form)


def load(text):
    return yaml.load(text, Loader)  # noqa: S506: a safe loader


def all_templates():
    """Every template, by name."""
    return {path.stem: load(path.read_text()) for path in sorted(TEMPLATES.glob("*.yaml"))}


def environments():
    """The files of parameters, by name."""
    return {path.stem: json.loads(path.read_text()) for path in INFRA.glob("parameters/*.json")}


def walk(value):
    """Every dictionary inside of a value, itself included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def words(value):
    """Every text inside of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)


def substitution(value):
    """The text of an Fn::Sub, whichever form it has; a plain text as it is."""
    if isinstance(value, dict):
        value = value.get("Fn::Sub", value)
    return value[0] if isinstance(value, list) else value


def exports(template):
    """Names that a template exports, without the deployment."""
    outputs = template.get("Outputs", {}).values()
    names = [substitution(output["Export"]["Name"]) for output in outputs if "Export" in output]
    return {name.removeprefix("${Deployment}-") for name in names}


def imports(template):
    """Names that a template imports, without the deployment."""
    names = [each["Fn::ImportValue"] for each in walk(template) if "Fn::ImportValue" in each]
    return {substitution(name).removeprefix("${Deployment}-") for name in names}


def referenced(template):
    """Names that are used anywhere below the parameters: by Ref, in Fn::Sub, in conditions."""
    below = {name: part for name, part in template.items() if name != "Parameters"}
    names = {each["Ref"] for each in walk(below) if "Ref" in each}
    for each in walk(below):
        if "Fn::Sub" in each:
            names.update(re.findall(r"\$\{([A-Za-z]\w*)", substitution(each)))
    return names


def statements(template):
    """Statements of every policy of IAM in a template, with the resource that they stand in: not
    those of keys and buckets, and not those that say who may take on a role."""
    for name, resource in template["Resources"].items():
        if not resource["Type"].startswith("AWS::IAM::"):
            continue
        properties = resource["Properties"]
        documents = [each["PolicyDocument"] for each in properties.get("Policies", [])]
        if "PolicyDocument" in properties:
            documents.append(properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                for each in statement.get("Fn::If", [None, statement])[1:]:
                    if "Effect" in each:
                        yield name, each


def actions(statement):
    """Actions of a statement, those of both branches of a condition too."""
    found = statement["Action"]
    if isinstance(found, dict):
        found = [each for each in found["Fn::If"][1:]]
    return [found] if isinstance(found, str) else found
