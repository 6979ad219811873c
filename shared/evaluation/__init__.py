"""Evaluation sets and how answers to them are measured: before a version is let out, and beside the live one."""
