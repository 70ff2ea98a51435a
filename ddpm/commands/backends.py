"""`ddpm backends`: list the backends."""

import click


@click.command()
def backends() -> None:
    """List the backends, and say why a backend is not available.

    A backend is a way to compute. All backends give the same results, except for rounding errors.
    """
    import ddpm

    states = ddpm.backends()
    width = max(map(len, states))
    for name, state in states.items():
        click.echo(f"{name:<{width}}  {state}")
