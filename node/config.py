"""The parts of the settings that the node itself owns: doors, TLS, storage, limits, logs, metrics.

Every unit is in the name. Every key has a default that works, so a file that lacks a key still starts. What each
key does, in Chinese and English, stands in `messages/settings_keys.toml`.
"""

from dataclasses import dataclass

__all__ = [
    "FILE_NAME",
    "DoorsConfig",
    "KeysConfig",
    "LimitsConfig",
    "LogsConfig",
    "MembershipConfig",
    "MetricsConfig",
    "StorageConfig",
    "TlsConfig",
]

#: The settings in the data folder.
FILE_NAME = "hazlink.toml"


@dataclass(frozen=True, slots=True)
class DoorsConfig:
    """Where the node listens and under which address others reach it."""

    http_host: str = "127.0.0.1"
    http_port: int = 8800
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 8801
    public_url: str = ""
    workers: int = 1
    trusted_proxies: tuple[str, ...] = ()
    stop_grace_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificate and key of all doors; both empty: plain, which is right on loopback only."""

    certificate_file: str = ""
    private_key_file: str = ""
    allow_plain: bool = False


@dataclass(frozen=True, slots=True)
class KeysConfig:
    """A device that keeps the signing keys and the key of the log (PKCS #11); no module: the folder `keys` does."""

    module: str = ""
    token: str = "hazlink"  # noqa: S105 — a label, no secret
    pin_file: str = ""


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Database, Redis and the thread pool in front of them."""

    database_url: str = ""
    pool_size: int = 8
    threads: int = 8
    redis_url: str = ""


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one caller may send at most."""

    max_body_bytes: int = 4_194_304
    max_json_depth: int = 32
    max_target_bytes: int = 8_192
    address_per_second: float = 1_000.0
    address_burst: int = 2_000
    principal_per_second: float = 2_000.0
    principal_burst: int = 4_000
    max_streams: int = 128


@dataclass(frozen=True, slots=True)
class LogsConfig:
    """What is logged, and how."""

    level: str = "info"
    format: str = "json"
    access: bool = False


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Who may read `/metrics`."""

    anyone: bool = False


@dataclass(frozen=True, slots=True)
class MembershipConfig:
    """How this node keeps its delegations."""

    poll_seconds: float = 3.0
