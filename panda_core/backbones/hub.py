"""Pretrained weights of timm, from this machine's cache or, in one try, from Hugging Face."""

from __future__ import annotations

from typing import Any

from panda_core.errors import DataMissing

FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names them, in the order in which it looks for them


def cached_file(spec: Any) -> str | None:
    """Return the file in the cache that holds the weights of timm's `spec`, or None."""
    import huggingface_hub

    if not spec.hf_hub_id:
        return None
    names = (spec.hf_hub_filename,) if spec.hf_hub_filename else FILES
    found = (huggingface_hub.try_to_load_from_cache(spec.hf_hub_id, name) for name in names)
    return next((path for path in found if isinstance(path, str)), None)


def check_reachable(name: str, spec: Any) -> None:
    """Raise `DataMissing` where the weights of `timm:NAME` cannot be asked for.

    One question, without the five waits of a download that fails (about 25 seconds, a line each).
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    if not spec.hf_hub_id:
        return  # timm has an address of its own for them, which it tries once
    address = huggingface_hub.hf_hub_url(spec.hf_hub_id, spec.hf_hub_filename or FILES[0])
    try:
        huggingface_hub.get_hf_file_metadata(address)
    except EntryNotFoundError:
        return  # the server is there; timm has other names to try
    except Exception as error:  # no network, no name server, a proxy, a closed repository: each has its own type
        raise not_here(name, error) from error


def not_here(name: str, error: Exception) -> DataMissing:
    """Return the error that says what to do where the weights of `timm:NAME` cannot be had."""
    return DataMissing(
        f"The weights of `timm:{name}` are not on this machine and could not be downloaded ({type(error).__name__}). "
        "Connect to a network once, name a file with `--set weights=FILE.safetensors`, or use the bundled "
        "`--backbone efficientnet_lite0`."
    )
