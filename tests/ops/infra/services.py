"""What the services of AWS ask of templates, and neither cfn-lint nor moto looks at: each rule as a
function that gives what it found, as in `rules.py`."""

from templates import walk


def resources(all_templates, kind):
    """All resources of a kind: template, name and properties."""
    for file, template in all_templates.items():
        for name, resource in template["Resources"].items():
            if resource["Type"] == kind:
                yield file, name, resource.get("Properties", {})


def capacity_that_is_associated(all_templates):
    """A strategy of capacity names only providers that the cluster is associated with: ECS refuses
    others, also those of Fargate, which need no more than that."""
    clusters = list(resources(all_templates, "AWS::ECS::Cluster"))
    there = {each for *_, cluster in clusters for each in cluster.get("CapacityProviders", [])}
    return [
        f"{file}: no cluster is associated with {each['CapacityProvider']}"
        for file, template in all_templates.items()
        for each in walk(template)
        if "CapacityProvider" in each and each["CapacityProvider"] not in there
    ]
