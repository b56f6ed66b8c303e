"""One person, as the server knows them."""

from __future__ import annotations

from dataclasses import dataclass

from ftlab.runs import run_notes, run_quota
from ftlab.runs.directory import Run
from ftlab.server.people import rights
from ftlab.server.people.rights import Action, ProfileKind, Relation, Role, RunAction


@dataclass(frozen=True)
class Person:
    """Who sent a request.

    Attributes:
        kind: the kind of server that was asked.
        role: what the person is to it.
        id: random identity from the cookie; empty for the host, and for a stranger.
        name: what the person is called; empty where nobody asked.
    """

    kind: ProfileKind
    role: Role
    id: str = ""
    name: str = ""

    @property
    def owner(self) -> str:
        """Return what a run keeps of its owner; empty for the host."""
        return run_quota.make_owner(self.id)

    @property
    def leads(self) -> bool:
        """Return whether all runs are this person's business."""
        return self.role in (Role.HOST, Role.TEACHER)

    def may(self, action: Action) -> bool:
        """Return whether the person may do something on the server.

        Args:
            action: what they want to do.

        Returns:
            The answer of the table of rights.
        """
        return rights.may_do(self.kind, self.role, action)

    def may_with(self, action: RunAction, run: Run) -> bool:
        """Return whether the person may do something with a run.

        Args:
            action: what they want to do.
            run: the run, or a deleted one.

        Returns:
            The answer of the table of rights.
        """
        return rights.may_do_with_run(self.kind, self.role, action, self.find_relation(run))

    def find_relation(self, run: Run) -> Relation:
        """Return what a run is to the person.

        Args:
            run: the run, or a deleted one.

        Returns:
            The relation, as the server has noted it in the run.
        """
        owner = run_quota.read_owner(run)
        if owner == self.owner and (owner or self.role is Role.HOST):
            return Relation.OWN
        return Relation.SHARED if run_notes.read_notes(run).is_shared else Relation.OTHER


def make_stranger(kind: ProfileKind) -> Person:
    """Return somebody without a cookie: the host where only this machine reaches the server, else a stranger.

    Args:
        kind: the kind of server.
    """
    return Person(kind, Role.HOST if kind is ProfileKind.LOCAL else Role.STRANGER)
