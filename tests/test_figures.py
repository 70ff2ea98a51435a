"""Figures: they are drawn for any number of rows, columns and steps, and show what they say."""

from pathlib import Path

import numpy as np
import pytest

from ddpm import figures


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("count", [1, 50])
def test_figures_are_drawn_at_any_size(tmp_path: Path, steps: int, count: int) -> None:
    trajectory = np.random.default_rng(0).standard_normal((steps + 1, count)).astype(np.float32)
    x = np.linspace(-3, 3, 50)
    drawn = [
        figures.data_figure(trajectory[0]),
        figures.forward_figure(trajectory),
        figures.loss_figure(np.abs(trajectory[:, 0]), 0.5),
        figures.loss_figure(trajectory[:, 0], -1.0),  # a bound can be negative, which a logarithmic axis cannot show
        figures.reverse_figure(trajectory),
        figures.samples_figure(trajectory[-1], x, np.exp(-(x**2) / 2)),
    ]
    for figure in drawn:
        figure.savefig(tmp_path / "figure.png")


def test_a_negative_bound_is_visible() -> None:
    figure = figures.loss_figure(np.array([10.0, 1.0, -1.0]), -1.2)
    assert figure.axes[0].get_yscale() == "symlog"
    assert figures.loss_figure(np.array([10.0, 3.0]), 2.0).axes[0].get_yscale() == "log"


def test_reverse_trajectories_are_coloured_by_where_they_end() -> None:
    history = np.array([[1.0, -1.0, 0.5], [-2.0, 2.0, 3.0]])
    (lines,) = figures.reverse_figure(history).axes[0].collections
    colours = lines.get_colors()[:, :3]  # type: ignore[attr-defined]
    assert np.array_equal(colours[1], colours[2])
    assert not np.array_equal(colours[0], colours[1])


@pytest.mark.parametrize("columns", [1, 2, 3, 8, 30])
@pytest.mark.parametrize("rows", [1, 10, 20_000])
def test_tables_are_drawn_at_any_size(tmp_path: Path, columns: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    data, samples = rng.standard_normal((rows, columns)), rng.standard_normal((rows, columns))
    data[:, -1] = samples[:, -1] = 5  # a constant column
    figure = figures.columns_figure(data, samples, [f"column {i}" for i in range(columns)])
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == {1: 1, 2: 2}.get(columns, min(columns, 8) ** 2)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_names_are_no_mathematics(tmp_path: Path, columns: int) -> None:
    rows = np.random.default_rng(0).standard_normal((20, columns))
    names = ["price_$_per_$", "$\\foo$", "two\nlines of a name that is very long, longer than any plot is wide"]
    figures.columns_figure(rows, rows, names[:columns]).savefig(tmp_path / "figure.png")


def test_a_figure_says_how_much_it_shows() -> None:
    rows = np.random.default_rng(0).standard_normal((20_000, 9))
    figure = figures.columns_figure(rows, rows[:100], list("abcdefghi"))
    assert figure.get_suptitle() == (
        "Data below the diagonal, 5000 of 20000 rows\nSamples above it, 100 rows, the first 8 of 9 columns"
    )
    (points,) = figure.axes[8].collections
    assert len(points.get_offsets()) == 5000  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 2, 250])
def test_the_reverse_process_of_points_ends_at_the_samples(tmp_path: Path, steps: int) -> None:
    history = np.random.default_rng(0).standard_normal((steps + 1, 50, 2))
    figure = figures.strip_figure(history, ["x", "y"])
    figure.savefig(tmp_path / "figure.png")
    assert figure.axes[0].get_title(loc="left") == f"$t = {steps}$"
    assert figure.axes[-1].get_title(loc="left") == "$t = 0$"
    assert np.array_equal(np.asarray(figure.axes[-1].collections[0].get_offsets()), history[-1])


@pytest.mark.parametrize("steps", [1, 2, 30, 250])
def test_the_terms_are_drawn_from_the_second_on(tmp_path: Path, steps: int) -> None:
    terms = np.concatenate(([-3.0], np.full(steps - 1, 0.5), [0.25]))
    figure = figures.terms_figure(terms)
    figure.savefig(tmp_path / "figure.png")
    (line,) = figure.axes[0].lines
    assert np.array_equal(np.asarray(line.get_ydata()), terms[1:-1])
    assert f"all: {terms.sum():.3f}".replace("-", "\N{MINUS SIGN}") in figure.axes[0].texts[0].get_text()
