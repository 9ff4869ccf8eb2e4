"""What a program asks of AWS, recorded: a proxy between it and the server that answers, which turns
each request into the actions of IAM that it needs and the resources that it needs them on. A
request of which that is not known is kept as such: nothing is passed over."""

import functools
import http.client
import http.server
import json
import re
import sys
import threading
import urllib.parse
from dataclasses import dataclass, field, replace

import botocore.session

# Requests to S3 by method, whether there is a key, and the names of the query that decide.
S3 = {
    ("GET", False, "list-type"): "s3:ListBucket",
    ("HEAD", False, ""): "s3:ListBucket",
    ("PUT", False, ""): "s3:CreateBucket",
    ("GET", True, ""): "s3:GetObject",
    ("HEAD", True, ""): "s3:GetObject",
    ("PUT", True, ""): "s3:PutObject",
    ("POST", True, "uploads"): "s3:PutObject",
    ("PUT", True, "partNumber uploadId"): "s3:PutObject",
    ("POST", True, "uploadId"): "s3:PutObject",
    ("DELETE", True, ""): "s3:DeleteObject",
    ("DELETE", True, "uploadId"): "s3:AbortMultipartUpload",
}
# Names of the query that change nothing of what has to be allowed.
PLAIN = {"x-id", "prefix", "max-keys", "continuation-token", "start-after", "delimiter"}
# Headers with which S3 asks for further rights.
FURTHER = re.compile(
    r"x-amz-(copy-source|acl|grant-|tagging|object-lock-|bypass-|server-side-encryption-)", re.I
)
# S3 asks for these in the caller's name, of the key of the bucket: what reads, what writes, and
# parts, of which the ones before are read.
OF_KEY = {
    ("GET", ""): ["kms:Decrypt"],
    ("PUT", ""): ["kms:GenerateDataKey"],
    ("POST", "uploads"): ["kms:GenerateDataKey"],
    ("PUT", "partNumber uploadId"): ["kms:GenerateDataKey", "kms:Decrypt"],
    ("POST", "uploadId"): ["kms:Decrypt"],
}
# Of calls that know no resource.
ANY = "*"
DATA_API = {
    "ExecuteStatement",
    "BatchExecuteStatement",
    "DescribeStatement",
    "GetStatementResult",
    "ListStatements",
    "CancelStatement",
}


class Unknown(Exception):
    """A request of which it is not known what it needs."""


@dataclass(frozen=True)
class Need:
    """An action that has to be allowed on a resource; what conditions may ask of the request."""

    action: str
    resource: str
    context: tuple = ()


@dataclass
class Request:
    """A request, as it came."""

    method: str
    target: str
    headers: dict
    body: bytes = b""

    @property
    def line(self):
        """What it is, for people."""
        more = self.headers.get("x-amz-target", "")
        return f"{self.method} {self.target} {more}".rstrip()

    @property
    def scope(self):
        """The region and the service that it is signed for; nothing if it is not signed."""
        found = re.search(
            r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request",
            self.headers.get("authorization", ""),
        )
        return (found[1], found[2]) if found else (None, None)

    @property
    def service(self):
        return self.scope[1]


@dataclass
class Names:
    """What requests name to the servers here, and policies mean by an ARN."""

    account: str
    # The name of a bucket in the deployment, and the ARN of its key; by its name here.
    buckets: dict = field(default_factory=dict)
    # ARNs of a warehouse and of what one logs in to; by place and database here, with a slash.
    warehouses: dict = field(default_factory=dict)
    # The ARN of the key of a topic of SNS that has its own.
    keys: dict = field(default_factory=dict)
    # The ARN of a secret, and of its key, by the name of the secret.
    secrets: dict = field(default_factory=dict)


def of_s3(request, names, region, status):
    """What a request to S3 needs."""
    path, _, query = request.target.partition("?")
    bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
    asked = {name for name, _ in urllib.parse.parse_qsl(query, keep_blank_values=True)}
    form = " ".join(sorted(asked - PLAIN))
    action = S3.get((request.method, bool(key), form))
    further = [name for name in request.headers if FURTHER.match(name)]
    if not action or further:
        raise Unknown(f"S3 {further or ''}")
    if bucket not in names.buckets:
        raise Unknown(f"the bucket {bucket} is none of this deployment")
    name, of_bucket = names.buckets[bucket]
    where = f"arn:aws:s3:::{name}"
    encryption = request.headers.get("x-amz-server-side-encryption")
    context = (("s3:x-amz-server-side-encryption", encryption),) if encryption else ()
    found = [Need(action, f"{where}/{key}" if key else where, context)]
    # Without this right S3 says of what is not there that it is forbidden.
    if request.method in ("GET", "HEAD") and key and status == 404:
        found.append(Need("s3:ListBucket", where))
    via = (("kms:ViaService", f"s3.{region}.amazonaws.com"),)
    for each in OF_KEY.get((request.method, form), []) if key else []:
        found.append(Need(each, of_bucket, via))
    return found


@functools.cache
def model(service):
    """What botocore knows of a service; read once."""
    return botocore.session.get_session().get_service_model(service)


def target(request, prefix, service):
    """The operation that a header names; one that the service has."""
    begin, _, operation = request.headers.get("x-amz-target", "").partition(".")
    if begin != prefix or operation not in model(service).operation_names:
        raise Unknown(f"{service} has no such operation")
    return operation


# Whose statement it is that is asked for: no process asks for another one's, but for loaders, which
# look for what the process before has begun.
OF_ONESELF = (("redshift-data:statement-owner-iam-userid", "${aws:userid}"),)


def of_data_api(request, names, region, _status):
    """What a request to the Data API needs. It logs in to the database in the caller's name, or by
    a secret, which it reads in the caller's name."""
    operation = target(request, "RedshiftData", "redshift-data")
    if operation not in DATA_API:
        raise Unknown("the resource of this operation is not known")
    action = f"redshift-data:{operation}"
    if operation not in ("ExecuteStatement", "BatchExecuteStatement"):
        return [Need(action, ANY, OF_ONESELF)]
    body = json.loads(request.body)
    name = f"{body.get('WorkgroupName') or body.get('ClusterIdentifier')}/{body['Database']}"
    if name not in names.warehouses:
        raise Unknown(f"the warehouse {name} is none of this deployment")
    if body.get("DbUser"):
        raise Unknown("a user of the database is named")
    warehouse, log_in = names.warehouses[name]
    if body.get("SecretArn"):
        secret, key = names.secrets[body["SecretArn"]]
        via = (("kms:ViaService", f"secretsmanager.{region}.amazonaws.com"),)
        read = Need("secretsmanager:GetSecretValue", secret)
        return [Need(action, warehouse), read, Need("kms:Decrypt", key, via)]
    if "WorkgroupName" in body:
        return [Need(action, warehouse), Need("redshift-serverless:GetCredentials", log_in)]
    return [Need(action, warehouse), Need("redshift:GetClusterCredentialsWithIAM", log_in)]


def of_glue(request, names, region, _status):
    """What a request to the registry of Glue needs. By an id alone no schema can be named."""
    operation = target(request, "AWSGlue", "glue")
    schema = json.loads(request.body).get("SchemaId")
    if operation != "GetSchemaVersion":
        raise Unknown("the resource of this operation is not known")
    if not schema:
        return [Need("glue:GetSchemaVersion", ANY)]
    begin = f"arn:aws:glue:{region}:{names.account}"
    place = f"{schema['RegistryName']}/{schema['SchemaName']}"
    return [
        Need("glue:GetSchemaVersion", f"{begin}:registry/{schema['RegistryName']}"),
        Need("glue:GetSchemaVersion", f"{begin}:schema/{place}"),
    ]


def of_sns(request, names, region, _status):
    """What a request to SNS needs. It asks for the key of the topic in the caller's name."""
    form = dict(urllib.parse.parse_qsl(request.body.decode()))
    if form.get("Action") != "Publish" or "TopicArn" not in form:
        raise Unknown(f"SNS {form.get('Action')}")
    topic = form["TopicArn"]
    via = (("kms:ViaService", f"sns.{region}.amazonaws.com"),)
    of_key = ["kms:GenerateDataKey", "kms:Decrypt"] if topic in names.keys else []
    return [
        Need("sns:Publish", topic),
        *(Need(each, names.keys[topic], via) for each in of_key),
    ]


SERVICES = {
    "s3": of_s3,
    "redshift-data": of_data_api,
    "glue": of_glue,
    "sns": of_sns,
}


def needs(request, names, status=200, services=SERVICES):
    """What has to be allowed for a request that was answered with this status."""
    region, service = request.scope
    if service not in services:
        raise Unknown(f"the service {service} is not known")
    return services[service](request, names, region, status)


def elsewhere(request, names):
    """A request as the same process sends it in another deployment: nothing where there is no
    warehouse, and a cluster of Redshift by its name instead of a workgroup's, with the secret of
    its own warehouse."""
    if request.service != "redshift-data":
        return request
    arns = [arn for arn, _ in names.warehouses.values()]
    serverless = any(":redshift-serverless:" in arn for arn in arns)
    kind = b'"WorkgroupName"' if serverless else b'"ClusterIdentifier"'
    body = re.sub(rb'"(WorkgroupName|ClusterIdentifier)"', kind, request.body)
    for secret in names.secrets:
        body = re.sub(rb'("SecretArn": ?)"[^"]*"', rb'\1"%b"' % secret.encode(), body)
    return replace(request, body=body) if arns else None


class Recorder:
    """What the processes of each role asked for; `services` says what requests to each need."""

    def __init__(self, names, services=SERVICES):
        self.names, self.services = names, services
        self.lock = threading.Lock()
        # (role, need) to the first request that needed it, and how many did.
        self.seen = {}
        # That first request, and the status of its answer.
        self.first = {}
        self.unknown = []
        self.requests = 0

    def add(self, role, request, status):
        """Keeps a request of a role. Whatever prevents that is kept instead."""
        with self.lock:
            self.requests += 1
            try:
                for need in needs(request, self.names, status, self.services):
                    line, count = self.seen.get((role, need), (request.line, 0))
                    self.seen[role, need] = (line, count + 1)
                    self.first.setdefault((role, need), (request, status))
            except Exception as why:  # noqa: BLE001: whatever it is, the request is not known
                self.unknown.append(f"{role}: {request.line}: {why!r}")

    def failed(self, role, what, why):
        """Keeps what went wrong with a request. Connections that end are no fault: processes are
        killed in the middle of their work."""
        if not isinstance(why, ConnectionError):
            with self.lock:
                self.unknown.append(f"{role}: {what}: {why!r}")

    def under(self, names):
        """What the same requests need in another deployment, which has these names."""
        found = {}
        for (role, _), (request, status) in self.first.items():
            there = elsewhere(request, names)
            for need in needs(there, names, status, self.services) if there else []:
                found[role, need] = (request.line, 1)
        return found

    def count(self, role, action, part=""):
        """How often a role needed an action on resources that have this part."""
        with self.lock:
            return sum(
                count
                for (who, need), (_, count) in self.seen.items()
                if who == role and need.action == action and part in need.resource
            )


class Proxy:
    """Between the processes of a role and the servers of the services that they call, by the name
    that a request is signed for. Bytes are passed on as they are, with the Host that was signed.
    `fails` says of a request whether it is answered with 503 instead."""

    def __init__(self, recorder, role, servers, fails=lambda request: False):
        places = {name: urllib.parse.urlsplit(url).netloc for name, url in servers.items()}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # What the client has not taken is not held back for more.
            disable_nagle_algorithm = True

            def answer(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = read_body(self.rfile, self.headers)
                request = Request(self.command, self.path, headers, body)
                status, given, text = 503, [], b""
                place = places.get(request.service)
                try:
                    if place and not fails(request):
                        status, given, text = passed_on(place, request, self.headers)
                except Exception as why:  # noqa: BLE001: whatever it is, it is told
                    recorder.failed(role, request.line, why)
                finally:
                    recorder.add(role, request, status)
                give(self, status, given, text)

            def send_error(self, code, message=None, explain=None):
                """A request that is none, or one with another method."""
                recorder.failed(role, self.raw_requestline, Unknown(f"{code} {message}"))
                super().send_error(code, message, explain)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, _request, client):
                recorder.failed(role, f"a connection from {client}", sys.exception())

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def read_body(stream, headers):
    """The body of a request: of a given length, or in chunks. A client that is killed leaves it
    unfinished."""

    def exactly(size):
        read = stream.read(size)
        if len(read) < size:
            raise ConnectionError("the client has gone")
        return read

    def line():
        read = stream.readline()
        if not read.endswith(b"\n"):
            raise ConnectionError("the client has gone")
        return read

    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return exactly(int(headers.get("Content-Length") or 0))
    whole = b""
    while size := int(line().partition(b";")[0], 16):
        whole += exactly(size)
        line()
    while line().strip():
        pass
    return whole


# They speak of one connection, and each side has its own.
OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


def passed_on(place, request, headers):
    """Sends a request on; gives status, headers and body of the answer."""
    server = http.client.HTTPConnection(place, timeout=120)
    try:
        return exchanged(server, request, headers)
    finally:
        server.close()


def exchanged(server, request, headers):
    """The same on a connection."""
    server.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        if name.lower() not in OF_CONNECTION:
            server.putheader(name, value)
    if request.body or request.method in ("PUT", "POST"):
        server.putheader("Content-Length", str(len(request.body)))
    server.endheaders(request.body)
    answer = server.getresponse()
    text = answer.read()
    # The answer to HEAD has the length of what it has not.
    kept = OF_CONNECTION - ({"content-length"} if request.method == "HEAD" else set())
    given = [(name, value) for name, value in answer.getheaders() if name.lower() not in kept]
    return answer.status, given, text


def give(handler, status, headers, text):
    """Answers."""
    handler.send_response_only(status)
    for name, value in headers:
        handler.send_header(name, value)
    names = {name.lower() for name, _ in headers}
    if "content-length" not in names and status not in (204, 304):
        handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)
