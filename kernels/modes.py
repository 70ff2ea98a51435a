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
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled(device_type)
    # entering what is off already would take 4 us
    outside = torch.inference_mode(False) if inference else contextlib.nullcontext()
    exact = torch.autocast(device_type, enabled=False) if autocast else contextlib.nullcontext()
    with outside, torch.no_grad(), exact:
        yield
