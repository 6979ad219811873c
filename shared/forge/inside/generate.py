"""Answers the rows of an evaluation set, greedily, and measures the loss of their references.

    generate.py REQUEST.json

The model, its template and its tokens are LLaMA-Factory's own, so that what is measured is what is served.
REQUEST: {"config": LLaMA-Factory's inference arguments, "rows": [{"prompt", "output", "system"}],
"max_new_tokens", "batch_size", "answers": path}. Writes a line a row: {"id", "prediction", "nll", "tokens"}.
Runs under the trainer's Python, through `child.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer


class Encoded(NamedTuple):
    """A row as token ids; response is empty where there is no reference."""

    id: int
    prompt: list[int]
    response: list[int]


class Generator:
    """A loaded model with its template."""

    def __init__(self, config: dict[str, Any]) -> None:
        model_args, data_args, finetuning_args, _ = get_infer_args(config)
        self._tokenizer = load_tokenizer(model_args)["tokenizer"]
        self._template = get_template_and_fix_tokenizer(self._tokenizer, data_args)
        self._model = load_model(self._tokenizer, model_args, finetuning_args)
        self._pad = self._tokenizer.pad_token_id

    def encode(self, number: int, row: dict[str, str]) -> Encoded:
        """One row, by the template."""
        messages = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["output"]},
        ]
        prompt, response = self._template.encode_oneturn(self._tokenizer, messages, row["system"] or None)
        return Encoded(number, prompt, response if row["output"] else [])

    def answers(self, batch: list[Encoded], max_new_tokens: int) -> list[str]:
        """Greedy answers, in order."""
        ids, mask = self._padded([row.prompt for row in batch])
        with torch.inference_mode():
            found = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=max_new_tokens,
                eos_token_id=self._template.get_stop_token_ids(self._tokenizer),
                pad_token_id=self._pad,
            )
        texts: list[str] = self._tokenizer.batch_decode(found[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def losses(self, batch: list[Encoded]) -> list[float]:
        """Negative log likelihood of each row's reference, natural log, all its tokens together."""
        rows = [row.prompt + row.response for row in batch]
        ids, mask = self._padded(rows)
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        found = []
        for row, scores in zip(batch, logits, strict=True):
            count = len(row.response)
            if not count:
                found.append(0.0)
                continue
            target = torch.tensor(row.response, device=scores.device)
            nll = torch.nn.functional.cross_entropy(scores[-count - 1 : -1].float(), target, reduction="sum")
            found.append(float(nll))
        return found

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, padded on the left, so that all answers begin at one place."""
        longest = max(len(row) for row in rows)
        ids = [[self._pad] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def batches(rows: list[Encoded], size: int) -> Iterator[list[Encoded]]:
    """Rows of like length together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: (len(row.prompt), row.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def main(path: str) -> None:
    """Answer a request's rows; the file of answers is whole or not there."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    generator = Generator(request["config"])
    rows = [generator.encode(number, row) for number, row in enumerate(request["rows"])]
    answers: dict[int, dict[str, Any]] = {}
    for batch in batches(rows, request["batch_size"]):
        texts = generator.answers(batch, request["max_new_tokens"])
        for row, text, nll in zip(batch, texts, generator.losses(batch), strict=True):
            answers[row.id] = {"id": row.id, "prediction": text, "nll": nll, "tokens": len(row.response)}
        sys.stdout.write(f"answered {len(answers)}/{len(rows)}\n")
        sys.stdout.flush()
    target = Path(request["answers"])
    fresh = target.with_suffix(".fresh")
    fresh.write_text("".join(json.dumps(answers[row.id]) + "\n" for row in rows), encoding="utf-8")
    fresh.replace(target)
