"""The modes of torch that must not reach into a kernel."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def arithmetic(device_type: str) -> Iterator[None]:
    """Compute without autograd and without autocast, whatever the caller has set.

    Inference mode too is left: constants are kept from one call to the next, and one made there would stay an
    inference tensor, which no later call could differentiate or change.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
        yield
