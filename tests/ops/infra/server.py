"""AWS as moto has it, on a port of this machine: with the kinds of `standins`, and with what moto
does otherwise than AWS put right. Run as a program it serves until it is stopped."""

import json
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
from moto.cloudformation.exceptions import ValidationError  # noqa: E402
from moto.cloudformation.models import CloudFormationBackend  # noqa: E402
from moto.cloudformation.responses import CloudFormationResponse  # noqa: E402
from moto.core.responses import ActionResult  # noqa: E402
from moto.ec2.models import ec2_backends  # noqa: E402
from moto.ec2.models.launch_templates import LaunchTemplate  # noqa: E402
from moto.ec2.models.route_tables import RouteTable  # noqa: E402
from moto.ec2.models.subnets import SubnetRouteTableAssociation  # noqa: E402
from moto.ecs.models import TaskDefinition  # noqa: E402
from moto.iam.models import Role, iam_backends  # noqa: E402
from moto.kafka.models import FakeKafkaCluster as KafkaCluster  # noqa: E402
from moto.kafka.responses import KafkaResponse  # noqa: E402
from moto.kms.models import Key  # noqa: E402
from moto.rds.models import DBInstance, DBParameterGroup  # noqa: E402
from moto.redshift.models import Cluster as RedshiftCluster  # noqa: E402
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
    RedshiftCluster.physical_resource_id = property(lambda made: made.cluster_identifier)
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


def give_brokers():
    """Addresses of brokers: moto's clusters have none."""
    host = "b-{}.log.abcdef.c2.kafka.eu-central-1.amazonaws.com:9098"
    addresses = ",".join(host.format(number) for number in (1, 2, 3))
    answer = json.dumps({"bootstrapBrokerStringSaslIam": addresses})
    KafkaResponse.get_bootstrap_brokers = lambda self: answer


def drop_no_values():
    """`AWS::NoValue` takes an item out of a list: moto leaves it there as nothing."""
    clean = parsing.clean_json

    def careful(value, resources):
        cleaned = clean(value, resources)
        if isinstance(cleaned, list):
            return [item for item in cleaned if item is not None]
        return cleaned

    parsing.clean_json = careful


def make_associations():
    """An association of a subnet with its table of routes can be asked for, and ends with its
    stack: moto's templates make one that no call shows."""

    def create(cls, _name, wanted, account, region, **_):
        properties = wanted["Properties"]
        made = cls(properties["RouteTableId"], properties["SubnetId"])
        backend = ec2_backends[account][region]
        made.association = backend.associate_route_table(
            made.route_table_id, subnet_id=made.subnet_id
        )
        return made

    def delete(self, account, region):
        ec2_backends[account][region].disassociate_route_table(self.association)

    SubnetRouteTableAssociation.create_from_cloudformation_json = classmethod(create)
    SubnetRouteTableAssociation.physical_resource_id = property(lambda made: made.association)
    SubnetRouteTableAssociation.delete = delete
    # Tables stay, too, and the network with them.
    RouteTable.delete = lambda self, account, region: ec2_backends[account][
        region
    ].delete_route_table(self.id)


def name_clusters():
    """The name of a cluster stands in its ARN, whichever kind it is."""

    def arn(self):
        begin = f"arn:aws:kafka:{self.region_name}:{self.account_id}"
        return f"{begin}:cluster/{self.cluster_name}/{self.cluster_id}"

    KafkaCluster._generate_arn = arn


def execute_change_sets():
    """A change set makes a stack as a template does: moto's knows of no exports of others, and adds
    none."""

    def execute(self, change_set_name, stack_name=None):
        for key, change_set in list(self.change_sets.items()):
            if change_set_name in (key, change_set.change_set_name):
                break
        else:
            raise ValidationError(stack_name)
        stack = change_set.stack
        if change_set.change_set_type == "CREATE":
            del self.stacks[stack.stack_id]
            self.create_stack(
                stack.name, change_set.template, change_set.parameters, tags=stack.tags
            )
        else:
            stack.update(change_set.template, parameters=change_set.parameters)
            self.exports.update({export.name: export for export in stack.exports})
        change_set.execution_status = "EXECUTE_COMPLETE"

    CloudFormationBackend.execute_change_set = execute
    # A change set without a change fails in AWS after it was made; moto refuses to make it.
    CloudFormationResponse._validate_different_update = lambda *_: None


def protect_stacks():
    """Stacks that are protected are not deleted: moto has no such protection."""
    delete = CloudFormationBackend.delete_stack

    def protect(self):
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        stack.is_protected = str(self._get_param("EnableTerminationProtection")).lower() == "true"
        return ActionResult({"StackId": stack.stack_id})

    def careful(self, name_or_stack_id):
        for stack in self.stacks.values():
            if name_or_stack_id in (stack.name, stack.stack_id):
                if getattr(stack, "is_protected", False) and stack.status != "DELETE_COMPLETE":
                    raise ValidationError(stack.name, "TerminationProtection is enabled")
        delete(self, name_or_stack_id)

    CloudFormationResponse.update_termination_protection = protect
    CloudFormationBackend.delete_stack = careful


def keep_roles_of_tasks():
    """The roles of a task: moto's templates pass over them."""
    given = TaskDefinition.create_from_cloudformation_json.__func__

    def create(cls, name, wanted, account_id, region_name, **more):
        made = given(cls, name, wanted, account_id, region_name, **more)
        made.task_role_arn = wanted["Properties"].get("TaskRoleArn")
        made.execution_role_arn = wanted["Properties"].get("ExecutionRoleArn")
        return made

    TaskDefinition.create_from_cloudformation_json = classmethod(create)


def give_roles_their_policies():
    """Policies of a role: moto's templates attach none, and keep those in the role as Python."""
    given, put = Role.create_from_cloudformation_json.__func__, Role.put_policy
    delete = Role.delete_from_cloudformation_json.__func__

    def text(self, name, document):
        put(self, name, document if isinstance(document, str) else json.dumps(document))

    def create(cls, name, wanted, account_id, region_name, **more):
        made = given(cls, name, wanted, account_id, region_name, **more)
        for arn in wanted["Properties"].get("ManagedPolicyArns", []):
            # It has none of those that AWS gives everyone.
            if ":iam::aws:" not in arn:
                iam_backends[account_id]["aws"].attach_role_policy(arn, made.name)
        return made

    def remove(cls, name, wanted, account_id, region_name):
        for role in iam_backends[account_id]["aws"].roles.values():
            if role.name == name:
                for policy in list(role.managed_policies.values()):
                    policy.detach_from(role)
        delete(cls, name, wanted, account_id, region_name)

    Role.put_policy = text
    Role.create_from_cloudformation_json = classmethod(create)
    Role.delete_from_cloudformation_json = classmethod(remove)


def give_keys_their_policies():
    """The policy of a key: moto's templates keep it as Python, and fail when the key is asked for."""
    given = Key.create_from_cloudformation_json.__func__

    def create(cls, name, wanted, account_id, region_name, **more):
        made = given(cls, name, wanted, account_id, region_name, **more)
        if not isinstance(made.policy, str):
            made.policy = json.dumps(made.policy)
        return made

    Key.create_from_cloudformation_json = classmethod(create)


def start(port):
    """Starts it; gives the server and its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    endpoint = f"http://127.0.0.1:{port}"
    standins.install(endpoint)
    give_attributes()
    keep_what_is_to_be_kept()
    protect_stacks()
    make_associations()
    name_clusters()
    execute_change_sets()
    drop_no_values()
    give_brokers()
    keep_roles_of_tasks()
    give_roles_their_policies()
    give_keys_their_policies()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    return server, endpoint


if __name__ == "__main__":
    started, address = start(int(sys.argv[1]))
    print(address, flush=True)
    started._thread.join()
