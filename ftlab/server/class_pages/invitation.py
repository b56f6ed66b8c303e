"""What a server for others prints at its start: addresses, codes, and for a class a QR code."""

from __future__ import annotations

import io
from collections.abc import Sequence

from ftlab.core import messages
from ftlab.server.listening import tls
from ftlab.server.listening.tls import TlsFiles
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.routes import JOIN_PATH


def format_join_url(url: str, room_code: str = "") -> str:
    """Return the address at which somebody joins.

    Args:
        url: address of the page, with a slash at its end.
        room_code: code to fill in; empty for none.

    Returns:
        The URL.
    """
    return f"{url}{JOIN_PATH.removeprefix('/')}{f'?code={room_code}' if room_code else ''}"


def write_invitation(membership: Membership, urls: Sequence[str], tls_files: TlsFiles | None) -> list[str]:
    """Return the lines to print.

    Args:
        membership: who is who on the server.
        urls: addresses of the page in the network, the likeliest first.
        tls_files: certificate and key; None where the server answers by HTTP.

    Returns:
        Lines; none for a server for one person, or on a Space, which has an address of its own.
    """
    kind = membership.kind
    if kind in (ProfileKind.LOCAL, ProfileKind.SPACE):
        return []
    lines = []
    if kind is ProfileKind.CLASSROOM and urls:
        lines.append(_draw_qr_code(format_join_url(urls[0], membership.room_code)))
        lines.append(messages.get_text("server.class_join", url=urls[0], code=membership.room_code))
    elif kind is ProfileKind.CLASSROOM:
        lines.append(messages.get_text("server.class_no_network", code=membership.room_code))
    elif urls:
        lines.append(messages.get_text("server.others_open", url=urls[0]))
    if len(urls) > 1:
        lines.append(messages.get_text("server.other_addresses", urls=", ".join(urls[1:])))
    if urls:
        lines.append(messages.get_text("server.teacher", url=format_join_url(urls[0]), code=membership.teacher_code))
    if tls_files is None:
        lines.append(messages.get_text("server.no_tls"))
    elif tls_files.is_self_signed:
        lines.append(messages.get_text("server.tls_self_signed", fingerprint=tls.compute_fingerprint(tls_files)))
    return lines


def _draw_qr_code(text: str) -> str:
    """Return a QR code as characters of a terminal."""
    import segno

    drawing = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out=drawing, compact=True)
    return drawing.getvalue()
