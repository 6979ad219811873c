"""A stand-in for a Terraform provider: `python provider.py schemas/google.json`, started by Terraform itself.

It knows the provider's schema and nothing of its behaviour: `terraform validate` and `terraform plan` judge every
argument, block, type and reference by it, without a network. What only the cloud can say stays unknown in a plan.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from wire import messages  # it lies beside this file, as a script finds it

PROTOCOL = 5
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
COUNTED = ("list", "set")
UNKNOWN = msgspec.msgpack.Ext(0, b"\0")
ENDPOINTS = ["list", ["object", {"dns_endpoint_config": ["list", ["object", {"endpoint": "string"}]]}]]
# What data sources are read for; a value of type dynamic carries its type.
READ = {
    "number": "123456789012",
    "control_plane_endpoints_config": [
        json.dumps(ENDPOINTS).encode(),
        [{"dns_endpoint_config": [{"endpoint": "cluster.example"}]}],
    ],
}
Message = messages()


class Provider:
    """Answers Terraform by the schemas of one provider."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def methods(self) -> dict[str, tuple[str, Callable[[Any, Any], Any]]]:
        """Name -> message of the request, and what answers it."""
        done = lambda _request, _context: Message["Empty"]()  # noqa: E731
        return {
            "GetSchema": ("Empty", self._get_schema),
            "PrepareProviderConfig": ("Config", lambda request, _: request),
            "ValidateResourceTypeConfig": ("Empty", done),
            "ValidateDataSourceConfig": ("Empty", done),
            "Configure": ("Empty", done),
            "PlanResourceChange": ("PlanRequest", self._plan),
            "ReadDataSource": ("ReadRequest", self._read),
            "Stop": ("Empty", done),
        }

    def _get_schema(self, _request: Any, _context: Any) -> Any:
        answer = Message["Schemas"](provider=schema(self._schemas["provider"]))
        for field, kind in (("resources", "resources"), ("data", "data")):
            for name, spec in self._schemas[kind].items():
                getattr(answer, field).add(key=name, value=schema(spec))
        return answer

    def _plan(self, request: Any, _context: Any) -> Any:
        values = msgspec.msgpack.decode(request.proposed.msgpack)
        for name, attribute in self._schemas["resources"][request.type_name]["attributes"].items():
            if values is not None and values.get(name) is None and attribute.get("computed"):
                values[name] = known(request.type_name, name, values)
        return Message["PlanResponse"](planned=value(values), legacy_types=True)

    def _read(self, request: Any, _context: Any) -> Any:
        values = msgspec.msgpack.decode(request.config.msgpack)
        for name, attribute in self._schemas["data"][request.type_name]["attributes"].items():
            if values.get(name) is None:
                text = f"{request.type_name}.{name}" if attribute["type"] == "string" else None
                values[name] = READ.get(name, text)
        return Message["ReadResponse"](state=value(values))


def known(kind: str, name: str, values: dict[str, Any]) -> Any:
    """What follows from the arguments already; so a plan shows which account has which role on what."""
    if kind == "google_service_account" and name in ("email", "member"):
        email = f"{values['account_id']}@project.iam.gserviceaccount.com"
        return email if name == "email" else f"serviceAccount:{email}"
    if name in ("id", "uri") and isinstance(values.get("name"), str):
        return f"{kind}/{values['name']}"
    return UNKNOWN


def value(values: Any) -> Any:
    return Message["Value"](msgpack=msgspec.msgpack.encode(values))


def schema(spec: dict[str, Any]) -> Any:
    return Message["Schema"](version=0, block=block(spec))


def block(spec: dict[str, Any]) -> Any:
    made = Message["Block"]()
    for name, attribute in sorted(spec["attributes"].items()):
        required, computed = attribute.get("required", False), attribute.get("computed", False)
        made.attributes.add(
            name=name,
            type=json.dumps(attribute["type"]).encode(),
            required=required,
            optional=attribute.get("optional", not required and not computed),
            computed=computed,
        )
    for name, nested in sorted(spec["blocks"].items()):
        counted = nested["nesting"] in COUNTED
        made.block_types.add(
            type_name=name,
            nesting=NESTING[nested["nesting"]],
            min_items=int(counted and nested["required"]),
            max_items=int(counted and not nested["many"]),
            block=block(nested),
        )
    return made


def certificate() -> tuple[bytes, bytes, str]:
    """Key and certificate (PEM), and the certificate as the handshake wants it (base64 of DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    return pem, made.public_bytes(serialization.Encoding.PEM), told


def service(name: str, methods: dict[str, tuple[str, Callable[[Any, Any], Any]]]) -> grpc.GenericRpcHandler:
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=Message[request].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for method, (request, answer) in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def main(path: Path) -> None:
    """Serve until Terraform says Shutdown. The handshake is one line of standard output."""
    over = threading.Event()

    def shutdown(_request: Any, _context: Any) -> Any:
        over.set()
        return Message["Empty"]()

    server = grpc.server(futures.ThreadPoolExecutor(8))
    provider = Provider(json.loads(path.read_text(encoding="utf-8")))
    server.add_generic_rpc_handlers(
        (
            service(f"tfplugin{PROTOCOL}.Provider", provider.methods()),
            service("plugin.GRPCController", {"Shutdown": ("Empty", shutdown)}),
        )
    )
    key, pem, told = certificate()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, pem)]))
    server.start()
    print(f"1|{PROTOCOL}|tcp|127.0.0.1:{port}|grpc|{told}", flush=True)
    over.wait()
    server.stop(0.1).wait()


if __name__ == "__main__":
    if "PLUGIN_CLIENT_CERT" not in os.environ:
        sys.exit("Terraform starts this: see tests/infra/conftest.py")
    main(Path(sys.argv[1]))
