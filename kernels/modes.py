"""Switches off the modes of torch that must not affect a kernel."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def arithmetic(device_type: str) -> Iterator[None]:
    """Compute without autograd, autocast and inference mode, whatever the caller has set.

    Inference mode is left because constants are kept from one call to the next. A constant that is made in inference
    mode stays an inference tensor, which no later call can differentiate or change.
    """
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled(device_type)
    # to switch off what is off already would take 4 us
    outside = torch.inference_mode(False) if inference else contextlib.nullcontext()
    exact = torch.autocast(device_type, enabled=False) if autocast else contextlib.nullcontext()
    with outside, torch.no_grad(), exact:
        yield
