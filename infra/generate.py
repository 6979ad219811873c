"""`python -m infra.generate`: writes what Terraform takes from the code, `infra/terraform/catalog.tf.json`.

Who hears and says what comes from the services, delivery from `shared/google/topics.py`, indexes from
`infra/firestore.indexes.json`. `--check` writes nothing and ends with 1 where the file is not what it would write.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from events.catalog import definitions
from services.discovery import discover
from services.ingress import notification, storage
from shared import places
from shared.experiment.manifest import LABEL
from shared.service import Service
from shared.storage.paths import RESERVED

ROOT = Path(__file__).resolve().parents[1]
CATALOG = ROOT / "infra" / "terraform" / "catalog.tf.json"
INDEXES = ROOT / "infra" / "firestore.indexes.json"
DELIVERY = ROOT / "shared" / "google" / "topics.py"

# What pods say; nobody else of the services' side does, and a pod says nothing more. The pod of an engine in
# common speaks as the cluster's watch does, so it runs where the platform itself does, and never as a tenant's.
POD_SAYS = {
    "training.pod": ("training-progressed", "checkpoint-written", "training-finished"),
    "validation.pod": ("evaluation-finished",),
    "deployment.judge": ("answers-judged",),
}
_WRITES = re.compile(r"\bartifacts\.(?:create|write|upload|delete)\b")
_READS = re.compile(r"\bartifacts\.")
_CLUSTER = re.compile(r"\bcluster\.")
_ORDERS = {"ASCENDING", "DESCENDING"}


class CatalogError(ValueError):
    """What the file cannot be made of; one line a fault."""


def catalog() -> dict[str, Any]:
    """The whole content of the file. Raises CatalogError."""
    services = discover()
    known = sorted(definitions())
    faults = unheard_of(services, known)
    if faults:
        raise CatalogError("\n".join(faults))
    exemptions, indexes = read_indexes(INDEXES)
    return {
        "//": "Made by `python -m infra.generate` from the code; a test compares. Do not edit.",
        "locals": {
            "catalog_events": known,
            "catalog_services": {name: describe(service) for name, service in sorted(services.items())},
            "catalog_subscriptions": subscriptions(services),
            "catalog_pod_events": sorted({event for events in POD_SAYS.values() for event in events}),
            "catalog_delivery": delivery(DELIVERY.read_text(encoding="utf-8")),
            "catalog_indexes": indexes,
            "catalog_unindexed": exemptions,
            "catalog_tenant_pattern": LABEL,
            "catalog_notification": notified(),
            "catalog_unfinished": f"{RESERVED}/",
        },
    }


def notified() -> dict[str, str]:
    """What a bucket has to tell, and whom, so that ingress takes it for the event of a manifest."""
    return {
        "event": storage.NAME,
        "format": notification.FORMAT,
        "path": "/events",
        "prefix": f"{places.TENANTS}/",
        "source": notification.SOURCE,
        "type": notification.WRITTEN,
    }


def unheard_of(services: Mapping[str, Service], events: Iterable[str]) -> list[str]:
    """Names of events that a service hears, or somebody says, and that the catalog has not."""
    known = set(events)
    named = [
        (f"services/{service.name}", word)
        for service in services.values()
        for word in service.hears + service.says
    ]
    named += [
        (f"infra/generate.py: POD_SAYS[{pod!r}]", word) for pod, words in POD_SAYS.items() for word in words
    ]
    return [
        f"{where}: no event is called {word!r}; see events/" for where, word in named if word not in known
    ]


def describe(service: Service) -> dict[str, Any]:
    """What an account of this service must be allowed to: derived, so that it is neither more nor less."""
    text = (ROOT / "services" / service.name / "effects.py").read_text(encoding="utf-8")
    artifacts = "write" if _WRITES.search(text) else "read" if _READS.search(text) else "none"
    return {
        "hears": sorted(service.hears),
        "says": sorted(service.says),
        "owns": service.owns,
        "artifacts": artifacts,
        "launches": bool(_CLUSTER.search(text)),
    }


def subscriptions(services: Mapping[str, Service]) -> dict[str, Any]:
    """`<service>.<event>` -> both, as `shared/google/topics.py` names them."""
    return {
        f"{service.name}.{event}": {"service": service.name, "event": event}
        for service in sorted(services.values(), key=lambda service: service.name)
        for event in sorted(service.hears)
    }


def delivery(source: str) -> dict[str, int]:
    """Deadlines and counts of `shared/google/topics.py`, read without its client. Raises CatalogError."""
    values = constants(source)
    try:
        first, longest = values["RETRY_SECONDS"]
        return {
            "ack_seconds": values["ACK_SECONDS"],
            "push_ack_seconds": values["PUSH_ACK_SECONDS"],
            "kept_seconds": values["KEPT_SECONDS"],
            "attempts": values["FORWARDED_AFTER"],
            "first_retry_seconds": first,
            "longest_retry_seconds": longest,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogError(f"shared/google/topics.py: {error} is not there as a constant") from error


def constants(source: str) -> dict[str, Any]:
    """Module-level names that are bound to numbers, products of numbers, or tuples of those."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _value(node.value)
            if value is not None:
                found[node.targets[0].id] = value
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int | float) else None
    if isinstance(node, ast.Tuple):
        return tuple(_value(part) for part in node.elts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _value(node.left), _value(node.right)
        return None if left is None or right is None else left * right
    return None


def read_indexes(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields without any index, and composite indexes, by a name each; empty where there is no such file.

    Raises CatalogError where an index cannot be said in Terraform.
    """
    if not path.exists():
        return {}, {}
    content = json.loads(path.read_text(encoding="utf-8"))
    faults: list[str] = []
    indexes = dict(_index(entry, faults) for entry in content.get("indexes", []))
    exemptions = {}
    for entry in content.get("fieldOverrides", []):
        name = f"{entry['collectionGroup']}.{entry['fieldPath']}"
        if entry.get("indexes"):
            faults.append(
                f"{path.name}: {name}: only an empty list of indexes (no index at all) is known here"
            )
        exemptions[name] = {"collection": entry["collectionGroup"], "field": entry["fieldPath"]}
    if faults:
        raise CatalogError("\n".join(faults))
    return dict(sorted(exemptions.items())), dict(sorted(indexes.items()))


def _index(entry: Mapping[str, Any], faults: list[str]) -> tuple[str, dict[str, Any]]:
    collection = entry["collectionGroup"]
    fields = []
    for field in entry["fields"]:
        order, contains = field.get("order", ""), field.get("arrayConfig", "")
        if order not in _ORDERS and contains != "CONTAINS":
            faults.append(
                f"firestore.indexes.json: {collection}.{field.get('fieldPath')}: order is {order!r}"
            )
        fields.append({"path": field["fieldPath"], "order": order or None, "contains": contains or None})
    words = [f"{field['path']}-{(field['order'] or field['contains'] or '').lower()[:4]}" for field in fields]
    scope = entry.get("queryScope", "COLLECTION")
    return ".".join([collection, *words]), {"collection": collection, "scope": scope, "fields": fields}


def text_of(content: Mapping[str, Any]) -> str:
    """The file: indented JSON, ends with a line break. Raises CatalogError where Terraform would read a template."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if "${" in text or "%{" in text:
        raise CatalogError("a name holds `${` or `%{`, which Terraform would read as a template")
    return text


def main(arguments: Sequence[str]) -> int:
    """0; 1 where --check finds the file stale, or it cannot be made."""
    try:
        text = text_of(catalog())
    except CatalogError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if "--check" not in arguments:
        CATALOG.write_text(text, encoding="utf-8")
        return 0
    fresh = CATALOG.exists() and CATALOG.read_text(encoding="utf-8") == text
    if not fresh:
        sys.stderr.write(f"{CATALOG.relative_to(ROOT)} is stale. To mend: python -m infra.generate\n")
    return int(not fresh)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
