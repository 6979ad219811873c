"""One folder, one service. They never import each other: they only hear and say events."""
