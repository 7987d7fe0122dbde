"""Targeted items as Libervia 0.9 makes them: its recorded devices, and an item for both of one's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.lexical import parse_time
from e2ee.names import ItemId, Jid, NodeAddress
from e2ee.xmlparse import parse_xml
from pubsub_encryption.items import Authorship
from tests.interop.omemo_devices import adopted, published_world
from tests.support.omemo_world import refused
from tests.support.peers import require_shared
from tests.support.targeted_world import read
