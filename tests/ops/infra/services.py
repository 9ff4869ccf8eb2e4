"""What the services of AWS ask of templates, and neither cfn-lint nor moto looks at: each rule as a
function that gives what it found, as in `rules.py`."""

import json

from rights import matches
from templates import ROOT, walk

# What the load balancer asks the tasks themselves, and lets no one else ask.
PROBES = {"/livez", "/readyz"}


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


def paths_that_are_served(all_templates):
    """The load balancer forwards every route of the interface but the probes, no pattern without a
    route, and asks for its health by a probe. `docs/openapi.json` is made of the table of routes."""
    routes = set(json.loads((ROOT / "docs/openapi.json").read_text())["paths"])
    if not routes > PROBES | {"/"}:
        return ["the document of the interface has no page, or no probes"]
    patterns = {
        pattern
        for _, _, rule in resources(all_templates, "AWS::ElasticLoadBalancingV2::ListenerRule")
        for condition in rule["Conditions"]
        for pattern in condition["PathPatternConfig"]["Values"]
    }
    reached = {pattern: {route for route in routes if matches(pattern, route)} for pattern in patterns}
    served = set().union(*reached.values())
    found = [f"the load balancer forwards no {route}" for route in routes - PROBES - served]
    found += [f"the load balancer lets everyone ask for {route}" for route in served & PROBES]
    found += [f"there is no route below {pattern}" for pattern in patterns if not reached[pattern]]
    for _, name, group in resources(all_templates, "AWS::ElasticLoadBalancingV2::TargetGroup"):
        if group["HealthCheckPath"] not in PROBES:
            found.append(f"{name}: {group['HealthCheckPath']} is no probe")
    return found
