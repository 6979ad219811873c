"""The evaluation pod: one model answers one evaluation set, and its answers are measured."""
