"""``trustplane review``: what waits for a person, and the decision on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing

if TYPE_CHECKING:
    from trustplane.audit.review import Review, SqliteReviews

__all__ = ["register"]

ByOption = Annotated[str, typer.Option("--by", help="Who decides; by default the login name.", metavar="NAME")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays beside the ticket.", metavar="TEXT")]


@contextmanager
def _reviews(plane: str) -> Iterator[SqliteReviews]:
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        yield opened.reviews


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    review = typer.Typer(no_args_is_help=True, help="Requests that wait for a person.")
    app.add_typer(review, name="review")

    @review.command("list")
    def list_(
        plane: PlaneOption = "trustplane-plane",
        everything: Annotated[bool, typer.Option("--all", help="Also what was decided or expired.")] = False,
        json: JsonFlag = False,
    ) -> None:
        """List the tickets that wait, oldest first."""
        with _reviews(plane) as reviews:
            found = reviews.tickets(everything=everything)
        lines = [f"{r.ticket.id}  {r.state:8}  {_when(r.opened)}  {r.ticket.endpoint}  {_rules(r)}" for r in found]
        emit([_document(r) for r in found], as_json=json, text="\n".join(lines) or "nothing waits for a person")

    @review.command()
    def show(ticket: str, plane: PlaneOption = "trustplane-plane", json: JsonFlag = False) -> None:
        """Show a ticket: which rule found something where. The content is not kept."""
        with _reviews(plane) as reviews:
            found = reviews.show(ticket)
        emit(_document(found), as_json=json, text=_text(found))

    @review.command()
    def approve(
        ticket: str,
        plane: PlaneOption = "trustplane-plane",
        by: ByOption = "",
        reason: ReasonOption = "",
        json: JsonFlag = False,
    ) -> None:
        """Let the request pass once; exit code 3 where someone decided before, or the ticket expired."""
        _decide(ticket, plane, by, reason, approved=True, as_json=json)

    @review.command()
    def reject(
        ticket: str,
        plane: PlaneOption = "trustplane-plane",
        by: ByOption = "",
        reason: ReasonOption = "",
        json: JsonFlag = False,
    ) -> None:
        """Refuse the request; exit code 3 where someone decided before, or the ticket expired."""
        _decide(ticket, plane, by, reason, approved=False, as_json=json)


def _decide(ticket: str, plane: str, by: str, reason: str, *, approved: bool, as_json: bool) -> None:
    with _reviews(plane) as reviews:
        found = reviews.decide(ticket, approved=approved, by=by or _login(), reason=reason)
    emit(_document(found), as_json=as_json, text=_text(found))


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no login name; which of the two depends on the Python version
        return ""


def _when(seconds: float | None) -> str:
    import datetime

    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rules(review: Review) -> str:
    return ", ".join(sorted({rule for _, rule in review.ticket.facts}))


def _document(review: Review) -> dict[str, Any]:
    ticket = review.ticket
    return {
        "ticket": ticket.id, "state": review.state, "request_id": ticket.request, "tenant": ticket.tenant,
        "endpoint": ticket.endpoint, "commitment": ticket.commitment,
        "findings": [{"place": place, "rule": rule} for place, rule in ticket.facts],
        "opened": _when(review.opened), "expires": _when(review.expires), "by": review.by, "reason": review.reason,
        "decided": _when(review.decided), "used": _when(review.used),
    }  # fmt: skip


def _text(review: Review) -> str:
    document = _document(review)
    findings = document.pop("findings")
    lines = [f"{name:11} {value}" for name, value in document.items() if value]
    return "\n".join([*lines, *(f"{'finding':11} {item['rule']} in {item['place']}" for item in findings)])
