"""The reference page says what the OpenAPI document says."""

from __future__ import annotations

import shlex

from services.console.pages.reference import reference, type_of


def test_every_operation_and_shape_is_on_the_page(client):
    spec, page = client.get("/openapi.json").json, client.get("/docs").text
    assert spec["openapi"].startswith("3.1")
    for path, item in spec["paths"].items():
        assert path in page
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in page
            assert operation["summary"]
            assert operation["description"]
    for name in spec["components"]["schemas"]:
        assert f'id="schema-{name}"' in page


def test_every_operation_tells_its_errors_in_the_one_shape(client):
    spec = client.get("/openapi.json").json
    for item in spec["paths"].values():
        for operation in item.values():
            for status in ("400", "404", "422", "503"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_the_version_s_schema_has_all_the_fields_of_the_brief(client):
    fields = client.get("/openapi.json").json["components"]["schemas"]["ModelVersionDetail"]["properties"]
    asked = (
        "model_id version base_model tenant risk_class status artifact_path config_path data_id metrics owner"
        " created_at updated_at ai_act_notes"
    )
    assert set(asked.split()) <= set(fields)


def test_the_curl_lines_can_be_run_as_they_stand(client):
    spec = client.get("/openapi.json").json
    view = reference(spec, f"http://127.0.0.1:{client.port}")
    lines = [operation.curl for operations in view.groups.values() for operation in operations]
    assert len(set(lines)) == sum(len(item) for item in spec["paths"].values())
    for line in lines:
        *_, address = shlex.split(line)
        assert "{" not in address
        assert client.get(address.removeprefix(f"http://127.0.0.1:{client.port}")).status in (200, 404)


def test_shapes_of_other_routers_read_as_well():
    spec = {
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/hook": {"post": {"responses": {}, "requestBody": {}, "parameters": []}},
            "/x/{a}": {"get": {"parameters": [{"name": "a", "in": "path", "schema": {}}]}},
        },
    }
    post, get = reference(spec, "http://h").groups["other"]
    assert post.curl == "curl -s -X POST -H 'content-type: application/json' -d @body.json http://h/hook"
    assert (get.curl, get.open) == ("curl -s 'http://h/x/{a}'", "")


def test_types_in_a_few_words():
    assert (
        type_of({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]})
        == "date-time | null"
    )
    assert type_of({"const": "<x>"}) == "<code>&lt;x&gt;</code>"
    assert type_of({"type": "array"}) == "list of any"
    nested = {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Gate"}}
    assert type_of(nested) == 'map to <a href="#schema-Gate">Gate</a>'
