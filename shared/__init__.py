"""The small kernel: the reaction loop, the ports in our own words, and their adapters. Knows no service."""
