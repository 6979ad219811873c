"""What a container is given: its variables and files, from its pod, ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.objects import Object, find
from shared.kubernetes.fake.runtime import Start
from shared.kubernetes.kinds import CONFIG_MAP, SECRET, Kind, Ref

_FIELD = re.compile(r"(.+)\['(.+)'\]")
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)|\$\$")


class Missing(Exception):
    """A reference that leads nowhere: the container waits with CreateContainerConfigError."""


def start_of(core: Core, pod: Object, container: Object) -> Start:
    """Raises Missing."""
    return Start(
        pod=pod,
        container=container,
        environment=variables(core, pod, container),
        files=dict(_files(core, pod, container)),
    )


def variables(core: Core, pod: Object, container: Object) -> dict[str, str]:
    """In order; later ones may use earlier ones as `$(NAME)`. Raises Missing."""
    found: dict[str, str] = {"HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"]}
    for source in container.get("envFrom") or ():
        for field, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
            if field in source:
                held = _data(core, pod, kind, source[field])
                found |= {source.get("prefix", "") + name: value.decode() for name, value in held.items()}
    for each in container.get("env") or ():
        value = _value(core, pod, container, each)
        if value is not None:
            found[each["name"]] = value if "valueFrom" in each else expanded(value, found)
    return found


def expanded(text: str, known: Mapping[str, str]) -> str:
    """With `$(NAME)` filled in; what is not known stays."""
    return _VARIABLE.sub(lambda match: "$" if match[0] == "$$" else known.get(match[1], match[0]), text)


def field(pod: Object, path: str) -> str:
    """What a fieldRef says."""
    indexed = _FIELD.fullmatch(path)
    if indexed:
        return str((find(pod, indexed[1].split(".")) or {}).get(indexed[2], ""))
    found = find(pod, path.split("."))
    if isinstance(found, dict):
        return "\n".join(f'{key}="{value}"' for key, value in sorted(found.items()))
    return "" if found is None else str(found)


def _value(core: Core, pod: Object, container: Object, each: Mapping[str, Any]) -> str | None:
    source = each.get("valueFrom")
    if not source:
        return str(each.get("value", ""))
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
        return str(find(container, ("resources", kind, name)) or "0")
    for name, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        if name in source:
            held = _data(core, pod, kind, source[name])
            key = source[name]["key"]
            if key not in held and not source[name].get("optional"):
                raise Missing(f"couldn't find key {key} in {kind.kind} {source[name]['name']}")
            return held[key].decode() if key in held else None
    return None


def _data(core: Core, pod: Object, kind: Kind, reference: Mapping[str, Any]) -> dict[str, bytes]:
    name = reference.get("name") or reference.get("secretName")
    found = core.find(Ref(kind, pod["metadata"]["namespace"], str(name)))
    if found is None:
        if reference.get("optional"):
            return {}
        raise Missing(f'{kind.kind.lower()} "{name}" not found')
    plain = found.get("data") or {}
    if kind == SECRET:
        return {key: base64.b64decode(value) for key, value in plain.items()}
    binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in plain.items()} | binary


def _files(core: Core, pod: Object, container: Object) -> Iterator[tuple[str, bytes]]:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        for path, content in _volume(core, pod, volumes[mount["name"]]):
            sub = mount.get("subPath")
            if sub is None:
                yield f"{mount['mountPath'].rstrip('/')}/{path}", content
            elif sub == path:
                yield mount["mountPath"], content


def _volume(core: Core, pod: Object, volume: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    if "downwardAPI" in volume:
        yield from _downward(pod, volume["downwardAPI"])
    for name, kind in (("configMap", CONFIG_MAP), ("secret", SECRET)):
        if name in volume:
            held = _data(core, pod, kind, volume[name])
            items = volume[name].get("items")
            chosen = (
                [(item["key"], item["path"]) for item in items] if items else [(key, key) for key in held]
            )
            yield from ((path, held[key]) for key, path in chosen if key in held)
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _volume(core, pod, source)


def _downward(pod: Object, source: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for item in source.get("items") or ():
        if "fieldRef" in item:
            yield item["path"], field(pod, item["fieldRef"]["fieldPath"]).encode()
