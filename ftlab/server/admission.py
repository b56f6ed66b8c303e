"""Bounds on what one visitor may ask of the server at a time, so that the others get their turn.

The bounds by visitor are narrow. Those by address are loose, because a class shares one, and so do all visitors of a
Space. Whoever drops the cookie counts by address, as one visitor.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ftlab.server.visitors import Visitor

TICKET_KEY = "ftlab.ticket"
"""Key of an ASGI scope with the `Ticket` of the request."""
MAX_KNOWN_ADDRESSES = 4096
"""Addresses whose new visitors are counted; beyond them, the one that is longest ago is forgotten."""


@dataclass(frozen=True)
class AdmissionLimits:
    """Bounds of one visitor and of one address.

    Attributes:
        events_per_visitor: events in the queue, waiting or running.
        events_without_cookie: the same, of all visitors of an address who send no cookie.
        events_per_address: the same, of all visitors of an address.
        requests_per_visitor: requests being answered, including the streams by which a page hears of its events.
        requests_without_cookie: the same, of all visitors of an address who send no cookie.
        requests_per_address: the same, of all visitors of an address.
        new_visitors_at_once: visitors whom an address may bring at once: a class.
        new_visitors_per_second: further visitors of an address.
    """

    events_per_visitor: int = 8
    events_without_cookie: int = 16
    events_per_address: int = 48
    requests_per_visitor: int = 24
    requests_without_cookie: int = 64
    requests_per_address: int = 256
    new_visitors_at_once: int = 60
    new_visitors_per_second: float = 0.5


@dataclass(frozen=True, eq=False)
class Ticket:
    """One request of a visitor; compared by identity.

    Attributes:
        visitor: who sent it.
    """

    visitor: Visitor


class Admission:
    """Counts of requests that are being answered. Used by the server's event loop only."""

    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        """Start with no visitor.

        Args:
            limits: the bounds; None: the default ones.
        """
        self.limits = limits or AdmissionLimits()
        self._open_requests: Counter[str] = Counter()
        self._joining_events: set[Ticket] = set()
        self._new_visitors: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def find_refusal(self, visitor: Visitor, queued_events: Iterable[Ticket] | None = None) -> tuple[int, str] | None:
        """Return why a further request of a visitor is refused, None where it is not.

        Args:
            visitor: who sent it.
            queued_events: tickets of the events in the queue, if the request is an event; None for other requests.

        Returns:
            HTTP status and key below `server.` in the messages, or None.
        """
        limits, name, address = self.limits, _get_name_key(visitor), _get_address_key(visitor)
        max_requests = limits.requests_per_visitor if visitor.has_cookie else limits.requests_without_cookie
        if self._open_requests[name] >= max_requests or self._open_requests[address] >= limits.requests_per_address:
            return 429, "busy_requests"
        if queued_events is None:
            return None
        # Those on their way into the queue count too: a hundred at once would each find it empty.
        tickets = {*queued_events, *self._joining_events}
        event_counts = Counter(
            key for ticket in tickets for key in (_get_name_key(ticket.visitor), _get_address_key(ticket.visitor))
        )
        max_events = limits.events_per_visitor if visitor.has_cookie else limits.events_without_cookie
        if event_counts[name] >= max_events:
            return 429, "busy_visitor"
        return (429, "busy_address") if event_counts[address] >= limits.events_per_address else None

    @contextmanager
    def count_request(self, ticket: Ticket, *, is_event: bool = False) -> Iterator[None]:
        """Count a request for as long as it is being answered.

        Args:
            ticket: of the request.
            is_event: it is on its way into the queue.

        Yields:
            Nothing.
        """
        keys = (_get_name_key(ticket.visitor), _get_address_key(ticket.visitor))
        self._open_requests.update(keys)
        if is_event:
            self._joining_events.add(ticket)
        try:
            yield
        finally:
            self._joining_events.discard(ticket)
            self._open_requests.subtract(keys)
            for key in keys:
                if self._open_requests[key] <= 0:
                    del self._open_requests[key]

    def may_introduce(self, address: str) -> bool:
        """Count a new visitor, and return whether their address may bring one now.

        Args:
            address: as `shorten_address` returns it.

        Returns:
            False: the visitor gets no cookie, and counts by address.
        """
        now = time.monotonic()
        last_time, spare_visitors = self._new_visitors.pop(address, (now, float(self.limits.new_visitors_at_once)))
        spare_visitors = min(
            float(self.limits.new_visitors_at_once),
            spare_visitors + (now - last_time) * self.limits.new_visitors_per_second,
        )
        is_allowed = spare_visitors >= 1
        self._new_visitors[address] = (now, spare_visitors - is_allowed)
        while len(self._new_visitors) > MAX_KNOWN_ADDRESSES:
            self._new_visitors.popitem(last=False)
        return is_allowed


def _get_name_key(visitor: Visitor) -> str:
    return f"visitor {visitor.name}"


def _get_address_key(visitor: Visitor) -> str:
    return f"address {visitor.address}"
