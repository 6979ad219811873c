"""What each engine is told: its words, its variables, its readiness. Pure, and the only place that knows them.

The pods start engines by it, and the chart's tests hold what the chart renders against it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.errors import Reject

READY_PATHS = {"llamafactory": "/docs", "vllm": "/health"}  # both answer without the key
KEY_VARIABLES = {"llamafactory": "API_KEY", "vllm": "VLLM_API_KEY"}
METRICS_PATHS = {"vllm": "/metrics"}  # LLaMA-Factory's API has none
DEFAULT_GENERATION = {"do_sample": False, "max_new_tokens": 256}
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM lays out memory for
GATE = "kuznia_gate.Gate"
CPU_SEQUENCES = 8  # worked on at once on a CPU
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


class Adapters(msgspec.Struct, frozen=True, kw_only=True):
    """Which LoRAs a vLLM can take. max_rank: one of RANKS. at_once: different ones in one batch. kept: how many
    wait in main memory; 0 for vLLM's own choice. hot: they are loaded and unloaded while it runs. first: name ->
    folder of those it starts with.
    """

    max_rank: int = 16
    at_once: int = 2
    kept: int = 0
    hot: bool = False
    first: dict[str, str] = {}


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """name: what the engine calls itself. place: folder (or hub name) of what is loaded first: a whole model,
    or the base of adapters. adapter: folder of a LoRA for LLaMA-Factory. template: LLaMA-Factory's name of the
    chat template. chat_template: file with the template for vLLM, empty for the model's own. generation:
    defaults of answers, in LLaMA-Factory's words. kv_cache_gb: GiB for keys and values on a CPU.
    drain_seconds: how long answers under way may take after SIGTERM.
    """

    engine: Literal["llamafactory", "vllm"]
    name: str
    address: str
    place: str
    adapter: str = ""
    adapters: Adapters | None = None
    template: str = ""
    chat_template: str = ""
    generation: dict[str, Any] = {}
    max_concurrent: int = 4
    gpus: int = 0
    threads: int = 0
    kv_cache_gb: int = 1
    drain_seconds: float = 25

    @property
    def host_and_port(self) -> tuple[str, str]:
        """Of its address. Raises Reject for one that is none."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal():
            raise Reject(
                f"KUZNIA_ADDRESS is {self.address!r}; it should be `host:port`, as the cluster gives it"
            )
        return host.strip("[]"), port


def config(serving: Serving) -> dict[str, Any]:
    """The YAML that `llamafactory-cli api` takes."""
    told = {
        "model_name_or_path": serving.place,
        "template": serving.template,
        "infer_backend": "huggingface",
        "infer_dtype": "auto" if serving.gpus else "float32",
        "trust_remote_code": False,
        **DEFAULT_GENERATION,
        **serving.generation,
    }
    return told | ({"adapter_name_or_path": serving.adapter} if serving.adapter else {})


def words(serving: Serving) -> list[str]:
    """What follows `vllm`. Raises Reject (address)."""
    host, port = serving.host_and_port
    said = ["serve", serving.place, "--served-model-name", serving.name, "--host", host, "--port", port]
    said += _sizes(serving)
    if serving.adapters:
        said += _lora(serving.adapters)
    if not serving.gpus:
        said.append("--enforce-eager")  # compiling takes longer there than it saves
    if serving.chat_template:
        said += ["--chat-template", serving.chat_template]
    defaults = sampling(serving.generation)
    said += ["--generation-config", "vllm", "--override-generation-config", _json(defaults)]
    said += ["--shutdown-timeout", str(int(serving.drain_seconds)), "--disable-uvicorn-access-log"]
    return [*said, "--disable-fastapi-docs", "--middleware", GATE]


def _sizes(serving: Serving) -> list[str]:
    if not serving.gpus:
        return ["--dtype", "float32", "--max-num-seqs", str(CPU_SEQUENCES)]
    return ["--tensor-parallel-size", str(serving.gpus)] if serving.gpus > 1 else []


def _lora(adapters: Adapters) -> list[str]:
    sizes = ["--max-lora-rank", str(adapters.max_rank), "--max-loras", str(adapters.at_once)]
    sizes += ["--max-cpu-loras", str(adapters.kept)] if adapters.kept else []
    first = [f"{name}={folder}" for name, folder in adapters.first.items()]
    return ["--enable-lora", *sizes, *(["--lora-modules", *first] if first else [])]


def sampling(generation: dict[str, Any]) -> dict[str, Any]:
    """LLaMA-Factory's defaults of an answer in vLLM's words. Its `max_new_tokens` is a default there and would
    be a limit here, so it is left out: an answer may take what the context has left.
    """
    told = {**DEFAULT_GENERATION, **generation}
    if not told["do_sample"]:
        return {"temperature": 0.0}
    return {name: told[name] for name in _SAMPLING if name in told}


def rank(needed: int) -> int:
    """The smallest size that vLLM has for a LoRA of this rank. Raises Reject."""
    fitting = [size for size in RANKS if size >= needed]
    if not fitting:
        raise Reject(
            f"the adapter's rank is {needed}, and vLLM serves up to {RANKS[-1]}: write `engine: llamafactory`"
        )
    return fitting[0]


def variables(serving: Serving, key: str) -> dict[str, str]:
    """What the engine reads from its environment. key: what clients must show; empty for none. Raises Reject."""
    host, port = serving.host_and_port
    shown = {KEY_VARIABLES[serving.engine]: key} if key else {}
    if serving.engine == "llamafactory":
        own = {
            "API_HOST": host,
            "API_PORT": port,
            "API_MODEL_NAME": serving.name,
            "MAX_CONCURRENT": str(serving.max_concurrent),
        }
        return own | shown
    own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if serving.adapters and serving.adapters.hot:
        own["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if not serving.gpus:
        own["VLLM_CPU_KVCACHE_SPACE"] = str(serving.kv_cache_gb)
        own["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # its own binding fails where cores are shared out
        own["OMP_NUM_THREADS"] = str(max(1, serving.threads))
    return own | shown


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
