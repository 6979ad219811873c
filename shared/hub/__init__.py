"""Base models from a model hub, `hf://organisation/name@revision`: pinned, checked, once a machine."""
