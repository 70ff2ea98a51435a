"""The place of this process among those that torchrun has started."""

import os

NAMES = "RANK", "WORLD_SIZE"


def rank_and_size() -> tuple[int, int]:
    """Return which process this is, from 0, and how many there are; (0, 1) where torchrun did not start it.

    Raises:
        ValueError: the environment has something else than such numbers.
    """
    if not all(name in os.environ for name in NAMES):
        return 0, 1
    texts = [os.environ[name] for name in NAMES]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        said = " and ".join(f"{name}={text!r}" for name, text in zip(NAMES, texts, strict=True))
        raise ValueError(f"the environment has {said}; RANK must be from 0 to WORLD_SIZE - 1")
    return int(texts[0]), int(texts[1])


def use_own_gpu() -> None:
    """Compute on the GPU of this process's number on its machine, where there is one of that number."""
    import torch

    local = os.environ.get("LOCAL_RANK", "")
    if local.isdecimal() and 0 < int(local) < torch.cuda.device_count():
        torch.cuda.set_device(int(local))
