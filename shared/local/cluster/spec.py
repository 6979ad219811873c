"""A workload as applied: checked, and written once under its name."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

import msgspec

from shared.errors import Reject
from shared.identity import MAX_NAME
from shared.local.cluster.disk import make_folders, naming_disk_faults, sync, sync_folder
from shared.local.cluster.layout import Layout
from shared.ports.cluster import Workload

NEW = ".new-"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_name(name: str) -> bool:
    """A DNS label (RFC 1123), so that it is a safe folder here and a valid name in Kubernetes."""
    return len(name) <= MAX_NAME and _LABEL.fullmatch(name) is not None


def faults(workload: Workload) -> list[str]:
    """All that is wrong with a workload, a line each; empty where it can run."""
    limits = workload.limits
    numbers = {
        "memory_bytes": limits.memory_bytes,
        "deadline_seconds": limits.deadline_seconds,
        "restarts": limits.restarts,
        "grace_seconds": limits.grace_seconds,
    }
    found = [
        f"limits.{name} is {number}; it should not be negative"
        for name, number in numbers.items()
        if number < 0
    ]
    if not is_name(workload.name):
        found.append(f"name is {workload.name!r}; it should be a DNS label of at most {MAX_NAME} characters")
    if not _MODULE.fullmatch(workload.module):
        found.append(f"module is {workload.module!r}; it should be the dotted name of a Python module")
    if workload.kind == "server" and not workload.ready_path.startswith("/"):
        found.append(f"ready_path is {workload.ready_path!r}; a server needs one that begins with '/'")
    return found


def create(root: Path, workload: Workload) -> bool:
    """Write it under its name, whole and synced; False where the same lies there already.

    Raises Reject where it is faulty or another workload has the name, Retry where the disk is full.
    """
    found = faults(workload)
    try:
        content = msgspec.json.encode(workload, order="deterministic")
    except (TypeError, ValueError) as error:
        found.append(f"document is not made of JSON types: {error}")
    if found:
        raise Reject(f"workload {workload.name!r} cannot be run:\n" + "\n".join(found))
    layout = Layout(root / workload.name)
    if not layout.workload.exists() and _create_folder(layout, content):
        return True
    _require_same(layout, content)
    return False


def applied(root: Path) -> list[Layout]:
    """The workloads below a root, in order of name."""
    if not root.is_dir():
        return []
    folders = (Layout(path) for path in sorted(root.iterdir()) if is_name(path.name))
    return [layout for layout in folders if layout.workload.exists()]


def load(layout: Layout) -> Workload:
    """The applied workload. Raises FileNotFoundError."""
    return msgspec.json.decode(layout.workload.read_bytes(), type=Workload)


def _create_folder(layout: Layout, content: bytes) -> bool:
    """A folder that is complete before it has its name; a rename onto a folder that is not empty fails."""
    root = layout.path.parent
    new = root / f"{NEW}{uuid.uuid4().hex}"
    try:
        with naming_disk_faults(root):
            make_folders(root)
            new.mkdir()
            with (new / layout.workload.name).open("xb") as file:
                file.write(content)
                sync(file)
            sync_folder(new)
            return _rename(new, layout.path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _rename(new: Path, target: Path) -> bool:
    try:
        os.rename(new, target)  # noqa: PTH104 - Path.rename is the same; this one is known not to replace
    except OSError:
        if (target / "workload.json").exists():
            return False
        raise
    sync_folder(target.parent)
    return True


def _require_same(layout: Layout, content: bytes) -> None:
    wanted = msgspec.json.decode(content, type=Workload)
    present = load(layout)
    if wanted == present:
        return
    differing = [
        field for field in Workload.__struct_fields__ if getattr(wanted, field) != getattr(present, field)
    ]
    raise Reject(
        f"another workload is already called {layout.name!r}; it differs in {', '.join(differing)}. "
        "Use another name, or stop and forget that one first"
    )
