"""`ddpm info`: describe a model file."""

from pathlib import Path

import click

from ddpm.commands.options import file

SHOWN = 10  # classes, at most


@click.command()
@click.argument("model", type=file)
def info(model: Path) -> None:
    """Describe a model file: columns, network and training."""
    from ddpm import checkpoint

    said = checkpoint.describe(model)
    network, table = said["network"], said["table"]
    of_run = f" of {said['run']['identity']['steps']}, a checkpoint" if said["run"] else ""
    rows = []
    if table:
        names = table["columns"][0] if table.get("columns") else table["table"]["names"]
        named = names and any(isinstance(name, str) for name in names)
        counted = names or table["table"].get("decimals")  # files of the first versions lack both
        count = f"{len(counted)}, " if counted else ""
        rows.append(("columns", ", ".join(map(str, names)) if named else f"{count}without names"))
        if table["classes"] is not None:
            shown = ", ".join(map(str, table["classes"][:SHOWN]))
            more = len(table["classes"]) - SHOWN
            rows.append(("classes", shown + (f" and {more} more" if more > 0 else "")))
        rows.append(("transform", f"{table['scaling'] or 'none'}{', whitened' if table['whiten'] else ''}"))
    else:
        rows.append(("columns", f"{network['dim']}, not scaled"))
    rows += [
        ("hidden layers", ", ".join(map(str, network["hidden"]))),
        ("schedule", said["schedule"]),
        ("iterations", f"{said['iteration']}{of_run}"),
        ("seed", str(table["params"]["random_state"] if table else said["seed"])),
    ]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        click.echo(f"{label:<{width}}  {' '.join(value.split())}")
