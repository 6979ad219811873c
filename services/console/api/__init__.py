"""The REST API under /api/v1; one class a resource, which knows the desk."""
