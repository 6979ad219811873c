"""How versions take over in the simulated experiments: the lines that `deployment` of their model.yaml ends with."""

from __future__ import annotations

CANARY = "[{weight: 0.2, minutes: 0.5, requests: 10}, {weight: 0.6, minutes: 0.5, requests: 10}]"
PLANS = {
    "canary": f"strategy: canary\n  keep_minutes: 1\n  canary: {{steps: {CANARY}, patience_minutes: 2}}",
    "impatient": f"strategy: canary\n  canary: {{steps: {CANARY}, patience_minutes: 1, without_traffic: promote}}",
    "blue-green": "strategy: blue-green\n  keep_minutes: 1",
    "sleepy": "scale_to_zero_minutes: 1.5",
    "sleepy-canary": f"scale_to_zero_minutes: 2\n  strategy: canary\n  canary: {{steps: {CANARY}, patience_minutes: 2}}",
}
