"""Stands in for torchaudio where it cannot be imported: LLaMA-Factory imports it, only audio data uses it."""

from __future__ import annotations

__version__ = "0.0.0"


def __getattr__(name: str) -> object:
    """Refuse by name what only audio data would ask for."""
    raise AttributeError(f"torchaudio.{name}: torchaudio is not installed here, so audio data cannot be used")
