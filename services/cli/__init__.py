"""CLI: `kuznia …`, the operator's and the data scientist's hands. Reads the registry, says events, runs the demo."""
