"""The node's settings: one TOML file in the data folder, environment variables over it, unknown keys refused.

Each package owns a frozen class of its own settings; this module composes them and is the only reader of the file
and of the environment. `HAZLINK_DOORS__HTTP_PORT=8800` stands over `[doors] http_port`. Nothing here is global:
whoever needs a setting is given its part by `node.wiring`.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from federation.content.config import SharingConfig
from federation.exchange.config import ExchangeConfig
from node.accounts.config import AccountsConfig
from node.config import (
    FILE_NAME,
    DoorsConfig,
    KeysConfig,
    LimitsConfig,
    LogsConfig,
    MembershipConfig,
    MetricsConfig,
    StorageConfig,
    TlsConfig,
)
from registry.errors import InvalidValueError
from registry.language import text
from registry.prefixes.issuing import Terms
from resolver.config import ResolverConfig
from resolver.peer_guard import GuardConfig

__all__ = ["Settings", "example", "load"]

_ENVIRONMENT = "HAZLINK_"
_NESTING = "__"
#: Read by the command line itself, before there are settings.
_OUTSIDE = frozenset({"HAZLINK_DATA", "HAZLINK_NODE", "HAZLINK_USER", "HAZLINK_SECRET", "HAZLINK_LANGUAGE"})


class Settings(BaseSettings):
    """All settings of one node.

    Attributes:
        data: the data folder; never in the file.
        passphrase_file: file that holds the passphrase of the signing keys; empty: keys are not encrypted.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=_ENVIRONMENT, env_nested_delimiter=_NESTING, extra="forbid", frozen=True
    )

    data: Path
    passphrase_file: str = ""
    doors: DoorsConfig = Field(default_factory=DoorsConfig)
    tls: TlsConfig = Field(default_factory=TlsConfig)
    keys: KeysConfig = Field(default_factory=KeysConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    accounts: AccountsConfig = Field(default_factory=AccountsConfig)
    logs: LogsConfig = Field(default_factory=LogsConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    resolver: ResolverConfig = Field(default_factory=ResolverConfig)
    peers: GuardConfig = Field(default_factory=GuardConfig)
    delegations: Terms = Field(default_factory=Terms)
    membership: MembershipConfig = Field(default_factory=MembershipConfig)
    exchange: ExchangeConfig = Field(default_factory=ExchangeConfig)
    sharing: SharingConfig = Field(default_factory=SharingConfig)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 — the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 — the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller gave, then the environment, then the file of the data folder."""
        given = init_settings()
        return (init_settings, env_settings, InitSettingsSource(settings_cls, _file(Path(given["data"]))))

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, tree: dict[str, Any]) -> dict[str, Any]:
        """Read a list given as one text with commas, which is all that the environment can hold."""
        for key, default, section in _keys():
            part = tree.get(section) if isinstance(default, tuple) else None
            name = key.rpartition(".")[2]
            if isinstance(part, dict) and isinstance(part.get(name), str):
                part[name] = tuple(item.strip() for item in part[name].split(",") if item.strip())
        return tree

    @property
    def database_url(self) -> str:
        """The database: the configured one, else the SQLite file in the data folder."""
        return self.storage.database_url or f"sqlite:///{self.data / 'hazlink.sqlite3'}"

    @property
    def local_url(self) -> str:
        """Base URL of the HTTP door from this machine."""
        scheme = "https" if self.tls.certificate_file else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.doors.http_host, self.doors.http_host)  # noqa: S104 — read, not bound
        return (
            f"{scheme}://[{host}]:{self.doors.http_port}"
            if ":" in host
            else f"{scheme}://{host}:{self.doors.http_port}"
        )

    @property
    def public_url(self) -> str:
        """Base URL under which others reach the HTTP door."""
        return self.doors.public_url.rstrip("/") or self.local_url

    def beside(self, name: str) -> Path:
        """Return a configured path; a relative one counts from the data folder."""
        return self.data / name

    def passphrase(self) -> bytes | None:
        """Return the passphrase of the signing keys, or None when they are not encrypted.

        Raises:
            InvalidValueError: the file cannot be read or is empty.
        """
        if not self.passphrase_file:
            return None
        return _secret("node.settings.passphrase", "passphrase_file", self.beside(self.passphrase_file))

    def pin(self) -> str:
        """Return the PIN of the device that keeps the signing keys.

        Raises:
            InvalidValueError: the file is not named, cannot be read, is empty, or holds no text.
        """
        path = self.beside(self.keys.pin_file)
        try:
            return _secret("node.settings.pin", "keys.pin_file", path).decode()
        except UnicodeDecodeError as error:
            raise InvalidValueError(
                "node.settings.pin", field="keys.pin_file", path=path, reason="UTF-8"
            ) from error


def load(data: Path, **given: Any) -> Settings:
    """Read the settings of a data folder.

    Args:
        data: the data folder; without `hazlink.toml` everything has its default.
        given: sections (as mappings) that stand over file and environment: what the command line was told.

    Raises:
        InvalidValueError: the file is no TOML, a key is unknown, or a value does not fit; `field` names the key.
    """
    where = data.expanduser().absolute()
    known = {key: value for key, value, _ in _keys()}
    for key in _leaves(_file(where)):
        _refuse_unknown(key, known, where / FILE_NAME)
    for name in os.environ:
        if name.startswith(_ENVIRONMENT) and name not in _OUTSIDE:
            key = name.removeprefix(_ENVIRONMENT).lower().replace(_NESTING, ".")
            _refuse_unknown(key, known, name)
    try:
        return Settings(data=where, **given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidValueError(
            "node.settings.value",
            field=".".join(str(part) for part in first["loc"]),
            value=first["input"],
            reason=first["msg"],
        ) from error


def example(chosen: Mapping[str, Any] | None = None) -> str:
    """Return a `hazlink.toml` with every key, its default, and what it does in Chinese and English.

    Args:
        chosen: dotted keys and their values, which stand uncommented.
    """
    chosen = chosen or {}
    lines = [
        "# hazlink.toml",
        f"# {text('node.settings.head', 'zh')}",
        f"# {text('node.settings.head', 'en')}",
    ]
    section = ""
    for key, default, owner in _keys():
        head, _, name = key.rpartition(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        lines += ["", *(f"# {text(f'node.settings_keys.{key}', language)}" for language in ("zh", "en"))]
        mark = "" if key in chosen else "# "
        lines.append(f"{mark}{name if owner else key} = {_toml(chosen.get(key, default))}")
    return "\n".join(lines) + "\n"


def _keys() -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, default, section) of every setting that may stand in the file."""
    for name, info in Settings.model_fields.items():
        if name == "data":
            continue
        default = info.get_default(call_default_factory=True)
        if not is_dataclass(default):
            yield name, default, ""
            continue
        for part in fields(default):
            yield f"{name}.{part.name}", getattr(default, part.name), name


def _file(path: Path) -> dict[str, Any]:
    file = path if path.name == FILE_NAME else path / FILE_NAME
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidValueError("node.settings.file", field=str(file), reason=error) from error


def _secret(message: str, field: str, path: Path) -> bytes:
    """Return what a file holds, which must not be nothing."""
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise InvalidValueError(message, field=field, path=path, reason=error.strerror) from error
    if not content:
        raise InvalidValueError(message, field=field, path=path, reason="empty / 空文件")
    return content


def _leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _refuse_unknown(key: str, known: Mapping[str, Any], where: object) -> None:
    if key in known:
        return
    section = key.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == section]
    raise InvalidValueError(
        "node.settings.unknown",
        field=key,
        where=where,
        allowed=", ".join(beside or sorted({name.partition(".")[0] for name in known})),
    )


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return str(value)
