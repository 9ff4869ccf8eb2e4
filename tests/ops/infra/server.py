"""AWS as moto has it, on a port of this machine: with the kinds of `standins`, and with what moto
does otherwise than AWS put right. Run as a program it serves until it is stopped."""

import logging
import os
import sys

# Dummies: nothing leaves this machine.
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="eu-central-1",
    AWS_EC2_METADATA_DISABLED="true",
)

import standins  # noqa: E402
from moto.cloudformation import parsing  # noqa: E402
from moto.ec2.models.launch_templates import LaunchTemplate  # noqa: E402
from moto.rds.models import DBInstance, DBParameterGroup  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

EXTRA = {
    "DbiResourceId": lambda made: made.dbi_resource_id,
    "MasterUserSecret.SecretArn": lambda made: (
        f"arn:aws:secretsmanager:{made.region}:{standins.ACCOUNT}:secret:"
        f"rds!db-{made.dbi_resource_id}-ABCDEF"
    ),
}


def give_attributes():
    """Attributes and references that moto does not know in templates."""
    known, given = DBInstance.has_cfn_attr.__func__, DBInstance.get_cfn_attribute

    def has(cls, name):
        return name in EXTRA or known(cls, name)

    def get(self, name):
        return EXTRA[name](self) if name in EXTRA else given(self, name)

    DBInstance.has_cfn_attr = classmethod(has)
    DBInstance.get_cfn_attribute = get
    DBParameterGroup.physical_resource_id = property(lambda made: made.name)
    LaunchTemplate.has_cfn_attr = classmethod(lambda cls, name: name == "LatestVersionNumber")
    LaunchTemplate.get_cfn_attribute = lambda self, name: str(self.latest_version_number)


def keep_what_is_to_be_kept():
    """Policies of deletion: moto knows the oldest one only."""
    delete = parsing.ResourceMap.delete

    def careful(self):
        for resource in self._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Retain"
        delete(self)

    parsing.ResourceMap.delete = careful


def start(port):
    """Starts it; gives the server and its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    endpoint = f"http://127.0.0.1:{port}"
    standins.install(endpoint)
    give_attributes()
    keep_what_is_to_be_kept()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    return server, endpoint


if __name__ == "__main__":
    started, address = start(int(sys.argv[1]))
    print(address, flush=True)
    started._thread.join()
