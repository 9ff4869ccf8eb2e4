"""Whether the commands of infra/README.md can be followed from its first line to its last."""

import re

from harness import must
from templates import INFRA

# What every machine has, and what the commands begin with themselves.
AT_HAND = {"aws", "export", "sed", "theatre"}


def commands(text):
    """The commands of a document: lines of its blocks for a shell, continued ones as one, without
    what stands in single quotes."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    joined = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [re.sub(r"'[^']*'", "''", line) for line in joined]


def faults(text):
    """What a reader who types the commands of a document stumbles over."""
    given, found = set(), []
    before = text[: text.index("**1.")] if "**1." in text else ""
    region = False
    for line in commands(text):
        used = set(re.findall(r"\$\{?([A-Za-z_]+)", line))
        found += [f"${name} is never set: {line}" for name in sorted(used - given)]
        given |= set(re.findall(r"(?:^|\s)([A-Za-z_]+)=", line))
        region = region or "AWS_REGION" in given or "--region" in line
        if "aws " in line and "configure" not in line and not region:
            found.append(f"no region is given before: {line}")
        for part in re.split(r"[|]|&&|\$\(", line):
            words = [word for word in part.split() if "=" not in word or word.startswith("-")]
            program = words[0] if words else ""
            if re.fullmatch(r"[a-z][a-z0-9-]*", program) and program not in AT_HAND:
                if f"`{program}`" not in before:
                    found.append(f"{program} is not named as needed: {line}")
    return found


def can_be_followed(group):
    """The README, and ones with a fault."""
    text = (INFRA / "README.md").read_text()
    with group.test("the_commands_of_the_readme_can_be_followed"):
        must(len(commands(text)) > 20, "it has no commands")
        found = faults(text)
        must(not found, "\n".join(found))
    with group.test("a_command_that_cannot_be_followed_is_found"):
        for right, wrong in [
            ("export AWS_REGION=", "export REGION="),
            ("`kubectl`", "kubectl"),
            ("key=$(", "secret=$("),
        ]:
            must(right in text and faults(text.replace(right, wrong)), f"{wrong} was not found")
