"""Data and evaluation set by URL, through the whole chain: what was read stands in manifest, registry and card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from shared.podkit import manifests
from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import TENANT, Installation
from tests.integration.repository import EVALUATION, ROWS, Repository, model_id

pytestmark = pytest.mark.slow
KEY = f"{model_id()}@1.0.0"


def test_data_by_url(installation: Installation, repository: Repository, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "train.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (store / "eval.json").write_text(json.dumps(EVALUATION), encoding="utf-8")
    url = f"{store.as_uri()}/train.json"
    digest = f"sha256:{hashlib.sha256((store / 'train.json').read_bytes()).hexdigest()}"
    evaluated = hashlib.sha256((store / "eval.json").read_bytes()).hexdigest()
    installation.options |= {"KUZNIA_DATA_ROOTS": store.as_uri()}
    installation.up()

    folder = repository.write()
    (folder / "dataset_info.json").write_text(json.dumps({"train": {"file_name": url}}), encoding="utf-8")
    (folder / "train.json").unlink()
    (folder / "eval.json").unlink()
    text = (folder / "model.yaml").read_text(encoding="utf-8")
    by_url = f"set: {store.as_uri()}/eval.json\n  sha256: {evaluated}"
    (folder / "model.yaml").write_text(text.replace("set: eval.json", by_url), encoding="utf-8")
    repository.commit()
    repository.push()
    run = repository.run()
    ends.check(installation, Sent(run=run))

    artifacts = installation.ports.artifacts
    loaded = manifests.load(artifacts, f"tenants/{TENANT}/runs/{run}/final")
    assert loaded
    assert loaded[0].data == {url: digest}
    (registered,) = installation.events("model-registered")
    assert registered.data["runtime"][f"data.{url}"] == digest
    assert registered.data["runtime"][f"rows.{url}"] == str(len(ROWS))
    (validated,) = installation.events("model-validated")
    assert validated.data["set_digest"] == f"sha256:{evaluated}"
    card = installation.kuznia("card", KEY)
    assert url in card
    assert digest in card

    # Another run of other content: the object under the URL has changed, and is read as it is now.
    (store / "train.json").write_text(json.dumps([*ROWS, ROWS[0]]), encoding="utf-8")
    (folder / "model.yaml").write_text(
        (folder / "model.yaml").read_text(encoding="utf-8").replace("1.0.0", "1.1.0"), encoding="utf-8"
    )
    repository.commit("more rows")
    repository.push()
    installation.wait_status(f"models/{model_id()}@1.1.0", "DEPLOYED")
    registered = installation.events("model-registered")[-1]
    assert registered.data["runtime"][f"rows.{url}"] == str(len(ROWS) + 1)
