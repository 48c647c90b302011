"""What the exchange stands on."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from federation.escrow.keys import EscrowKeys
from federation.escrow.takeover import Takeovers
from federation.exchange.healing import Confirm
from node.accounts.tokens import Tokens
from node.settings import Settings
from registry.clock import Clock
from registry.prefixes.homes import Homes, Keys
from registry.prefixes.service import Prefixes
from registry.service import Registry
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixStore
from registry.template import TemplateCatalogue
from registry.trust.marks import Marks

__all__ = ["Ground"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the exchange stands on: parts the node has anyway."""

    settings: Settings
    clock: Clock
    entropy: Callable[[int], bytes]
    executor: Executor
    database: Database
    keys: Keys
    homes: Homes
    prefix_store: PrefixStore
    marks: Marks
    prefixes: Prefixes
    registry: Registry
    templates: TemplateCatalogue
    tokens: Tokens
    sharing_secret: bytes
    escrow_keys: EscrowKeys
    takeovers: Takeovers
    stopping: Callable[[], bool]
    #: Makes sure that the keys of this node are those its superiors name.
    confirm: Confirm
