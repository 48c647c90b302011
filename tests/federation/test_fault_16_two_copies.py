"""A copied data folder, started beside the original: at most one of the two is heard, and no number means two things."""

import shutil
import time

import pytest

from node.cli.base import at_node
from registry.errors import UnavailableError
from registry.storage.engine import Database
from tests.support.exchange_books import database_url, payload, progress
from tests.support.exchange_processes import QUICK, an_alarm, an_entry, queue, two_nodes
from tests.support.ports import free_ports
from tests.support.processes import Served, command, until

pytestmark = pytest.mark.slow
