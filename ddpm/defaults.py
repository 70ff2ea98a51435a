"""The default parameters of an estimator, chosen by the shape of the data alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """The default parameters for a table.

    With many rows per column, a model can learn sharp edges: it gets Fourier features, many time steps and long
    training. With few rows, it must not memorise them: the fewer there are, the shorter the training and the stronger
    the weight decay. Columns are also made nearly normal first.

    Attributes:
        rows: N, the number of rows.
        dim: number of columns that vary.
    """

    rows: int
    dim: int

    @property
    def plenty(self) -> bool:
        """Whether there are many rows for each column."""
        return self.rows_per_column >= 1000

    @property
    def rows_per_column(self) -> float:
        """N / D."""
        return self.rows / max(1, self.dim)

    @property
    def timesteps(self) -> int:
        """T, the number of time steps."""
        return 250 if self.plenty else 100

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""
        if self.rows_per_column < 100:
            return (64, 64)
        return (64,) * 3 if self.dim <= 4 else (128,) * 3

    @property
    def features(self) -> tuple[float, ...]:
        """The frequencies of Fourier features."""
        return (1.0, 2.0, 4.0, 8.0) if self.plenty else ()

    @property
    def weight_decay(self) -> float:
        """The weight decay of AdamW; like the weight of a prior, it falls as one over the number of rows."""
        return 1e-6 if self.plenty else min(0.3, 4 / self.rows_per_column)

    @property
    def scaling(self) -> str:
        """The transform of each column."""
        return "standard" if self.plenty else "power"

    @property
    def whiten(self) -> bool:
        """Whether columns are made uncorrelated."""
        return self.dim >= 20

    @property
    def steps(self) -> int:
        """The number of training iterations."""
        if not self.plenty:
            return round(min(4000, max(550, 50 * self.rows_per_column)))
        return 1200 if self.dim == 1 else 8000

    @property
    def batch_size(self) -> int:
        """The number of rows per iteration."""
        return min(self.rows, 512 if self.plenty else 256)
