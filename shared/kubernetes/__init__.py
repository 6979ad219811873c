"""Kubernetes: training runs as Jobs, engines as Deployments; the official client stands in one module of this."""
