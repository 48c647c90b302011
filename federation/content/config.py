"""What can be set about sharing."""

from dataclasses import dataclass

__all__ = ["SharingConfig"]


@dataclass(frozen=True, slots=True)
class SharingConfig:
    """Settings of what goes up, and how often.

    Attributes:
        rules: `<dataset>.<field>@<tier>=<value|digest|withheld>`, the last that fits counts. `*` stands for every
            dataset, field or tier; `stream:<name>` in place of a dataset for all datasets of a stream.
        rhythms: `<dataset>=<real-time|hourly|daily|monthly>`; never slower than the dataset declares.
        escrow_enabled: whether a daily deposit goes to the superior that announced an escrow key.
        escrow_full_days: days after which a deposit is a full one again; between them only what changed.
    """

    rules: tuple[str, ...] = ()
    rhythms: tuple[str, ...] = ()
    escrow_enabled: bool = True
    escrow_full_days: int = 7
