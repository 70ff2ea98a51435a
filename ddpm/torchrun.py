"""The rank of this process among those that torchrun started."""

import os

NAMES = "RANK", "WORLD_SIZE"


def rank_and_size() -> tuple[int, int]:
    """Return the rank of this process, from 0, and the number of processes; (0, 1) if torchrun did not start it.

    Raises:
        ValueError: RANK or WORLD_SIZE in the environment is not a number, or RANK is not below WORLD_SIZE.
    """
    if not all(name in os.environ for name in NAMES):
        return 0, 1
    texts = [os.environ[name] for name in NAMES]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        said = " and ".join(f"{name}={text!r}" for name, text in zip(NAMES, texts, strict=True))
        raise ValueError(f"the environment has {said}; RANK must be from 0 to WORLD_SIZE - 1")
    return int(texts[0]), int(texts[1])


def use_own_gpu() -> None:
    """Make the GPU whose number is the local rank of this process the current one, if there is such a GPU."""
    import torch

    local = os.environ.get("LOCAL_RANK", "")
    if local.isdecimal() and 0 < int(local) < torch.cuda.device_count():
        torch.cuda.set_device(int(local))
