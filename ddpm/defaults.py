"""The choices of an estimator that is not told: by the shape of the data alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """The choices for a table.

    Many rows for each column can teach sharp edges: Fourier features, long training. Few must not be learnt by heart:
    dropout, and columns that are nearly normal before.

    Attributes:
        rows: N.
        dim: how many columns vary.
    """

    rows: int
    dim: int

    @property
    def plenty(self) -> bool:
        """Whether there are many rows for each column."""
        return self.rows >= 1000 * self.dim

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""
        return (64, 64, 64) if self.plenty else (128, 128)

    @property
    def features(self) -> tuple[float, ...]:
        """The frequencies of Fourier features."""
        return (2.0, 4.0, 8.0, 16.0) if self.plenty else ()

    @property
    def dropout(self) -> float:
        """The share of hidden units left out in training."""
        return 0.0 if self.plenty else 0.2

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
            return 1000
        return 1200 if self.dim == 1 else 8000

    @property
    def batch_size(self) -> int:
        """Rows an update."""
        return min(self.rows, 512 if self.plenty else 256)
