"""`ddpm backends`: list the backends."""

import click


@click.command()
def backends() -> None:
    """List the backends, which are the ways to compute.

    For a backend that is not available, it says why.
    """
    import ddpm

    states = ddpm.backends()
    width = max(map(len, states))
    for name, state in states.items():
        click.echo(f"{name:<{width}}  {state}")
