"""`ddpm evaluate`: how good a model is, on data that it has not seen."""

from pathlib import Path

import click

from ddpm.commands.options import backend_option, file, seed_option


@click.command()
@click.argument("model", type=file)
@click.argument("data", type=file)
@click.option("--out", type=file, metavar="DIR", help="Folder for figures, made where it is missing.")
@seed_option
@backend_option
def evaluate(model: Path, data: Path, out: Path | None, seed: int, backend: str | None) -> None:
    """Compare a model of a table with DATA that it was not trained on.

    DATA is a file with the columns that MODEL was trained on, in any order. One half of its rows is what all are
    compared with. The other half, fresh data, shows what the best possible model would score, and what a mixture of
    Gaussians fitted to it does.
    """
    import ddpm
    from ddpm import model_files, table_files

    found = model_files.load(model, backend)
    if isinstance(found, ddpm.Diffusion):
        raise ValueError(f"{model}: was trained with --tutorial; train on the table without it to evaluate the model")
    target = model_files.target_of(found)[1] if hasattr(found, "classes_") else None
    table = table_files.read(data, target, model_files.columns_of(found))
    click.echo(table_files.described(data, len(table), table_files.names_of(table)))
    x, y = table_files.split(table, target)
    evaluation = ddpm.evaluate(found, x, y, random_state=seed, progress=True)
    click.echo(evaluation)
    click.echo("\nWasserstein-1 by column")
    width = max(map(len, evaluation.by_column))
    for name, distance in evaluation.by_column.items():
        click.echo(f"{name:<{width}}  {distance:.3f}")
    if out is not None:
        from ddpm.commands.drawing import write_figures

        out.mkdir(parents=True, exist_ok=True)
        drawn = found.sample(len(x), random_state=seed)
        write_figures(found, x, y, drawn[0] if isinstance(drawn, tuple) else drawn, out, seed)
        click.echo(f"figures are in {out}")
