"""The pod of an engine in common: supervises vLLM, and loads the adapters that its record wants."""
