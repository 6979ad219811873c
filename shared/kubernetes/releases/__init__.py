"""Servers as releases of the chart `llama-factory-api`: installed by helm, or committed for Argo CD."""
