"""What the REST API says, as pydantic models: the source of its OpenAPI document."""
