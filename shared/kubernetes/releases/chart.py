"""The chart that servers are released with, and the operator's own values for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from shared.errors import Reject
from shared.kubernetes.settings import KubernetesSettings

OCI = "oci://"


def is_folder(chart: str) -> bool:
    """Whether the chart lies on this machine, and not in a registry of charts."""
    return not chart.startswith(OCI)


def chart_digest(chart: str) -> str:
    """`sha256:<hex>` of a chart's files with their paths; a chart of a registry is what its name says.

    Raises Reject where there is no chart.
    """
    if not is_folder(chart):
        return chart
    root = Path(chart)
    if not (root / "Chart.yaml").is_file():
        raise Reject(
            f"KUZNIA_K8S_CHART is {chart!r}, where no Chart.yaml lies; it should be a chart's folder"
        )
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(root).as_posix()}\n".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{whole.hexdigest()}"


def operator_values(settings: KubernetesSettings) -> dict[str, Any]:
    """What KUZNIA_K8S_CHART_VALUES holds; nothing where it is not set. Raises Reject."""
    if not settings.chart_values:
        return {}
    path = Path(settings.chart_values)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Reject(f"KUZNIA_K8S_CHART_VALUES: {path} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise Reject(f"KUZNIA_K8S_CHART_VALUES: {path} should hold a mapping, as a chart's values.yaml does")
    return content
