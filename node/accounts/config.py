"""Settings of the accounts."""

from dataclasses import dataclass

__all__ = ["AccountsConfig"]


@dataclass(frozen=True, slots=True)
class AccountsConfig:
    """How long logins hold and how costly a guess is.

    The Argon2id defaults are the second recommended option of RFC 9106 §4 (64 MiB, 3 passes, 4 lanes).
    """

    token_seconds: int = 900
    recheck_seconds: float = 2.0
    password_min_characters: int = 10
    argon2_memory_kib: int = 65_536
    argon2_passes: int = 3
    argon2_lanes: int = 4
    failures_before_wait: int = 5
    longest_wait_seconds: float = 900.0
