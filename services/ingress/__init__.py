"""Ingress: events that other systems post, let in once they are proven, granted and right."""
