"""`ddpm backends`: which ways of computing there are."""

import click


@click.command()
def backends() -> None:
    """List the backends, and why one is not available."""
    import ddpm

    states = ddpm.backends()
    width = max(map(len, states))
    for name, state in states.items():
        click.echo(f"{name:<{width}}  {state}")
