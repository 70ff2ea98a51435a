"""The choices of an estimator that is not told: by the shape of the data alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """The choices for a table.

    Many rows for each column can teach sharp edges: Fourier features, many time steps, long training. Few must not be
    learnt by heart: training is shorter and the weights decay the more, the fewer there are, and columns are nearly
    normal before.

    Attributes:
        rows: N.
        dim: how many columns vary.
    """

    rows: int
    dim: int

    @property
    def plenty(self) -> bool:
        """Whether there are many rows for each column."""
        return self.rows_per_column >= 1000

    @property
    def rows_per_column(self) -> float:
        """Return N / D."""
        return self.rows / max(1, self.dim)

    @property
    def timesteps(self) -> int:
        """T."""
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
        """That of AdamW: as a prior's, its weight falls as one over the number of rows."""
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
        """Updates of the weights."""
        if not self.plenty:
            return round(min(4000, max(550, 50 * self.rows_per_column)))
        return 1200 if self.dim == 1 else 8000

    @property
    def batch_size(self) -> int:
        """Rows an update."""
        return min(self.rows, 512 if self.plenty else 256)
