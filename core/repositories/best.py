"""Which version of a model serves: chosen at each publication, or pinned by a client. Every change is an event.

Whoever changes it holds the model's row of best_versions until the transaction ends, so the choice, its events and their
numbers have one order. The rules are core/choice.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from core.choice import Contender, Verdict, choose, judge
from core.errors import ModelNotFound, NoEarlierVersion
from core.objective import objective_of
from core.tables import ArtifactRow, BestRow, ModelEventRow, ModelVersionRow, utc_now

ROLLED_BACK = "rolled_back"


def lock_best(session: Session, tenant: str, name: str) -> BestRow:
    """The model's row, which nobody else can change before the transaction ends. Raises ModelNotFound."""
    row = session.get(BestRow, (tenant, name), with_for_update=True)
    if row is None:
        raise ModelNotFound(f"there is no model {name!r}")
    return row


def consider(session: Session, tenant: str, name: str, version: int) -> None:
    """Serves a version that was just published if it is the first, or beats the served one; a pin stays.

    To be called with the model's turn taken: while no other version of it is being published.
    """
    best = session.get(BestRow, (tenant, name), with_for_update=True)
    if best is None:
        best = BestRow(
            tenant_id=tenant,
            name=name,
            version=version,
            pinned=False,
            margin=0.0,
            revision=0,
            last_event=0,
            updated_at=utc_now(),
        )
        session.add(best)
        _tell(session, best, "published", "worker", "first version", previous=None, published=version)
        return
    verdict = _judged(session, best, version)
    previous = best.version
    if verdict.better and not best.pinned:
        best.version = version
    figures = {"published": version, "better": verdict.better, **verdict.figures()}
    _tell(session, best, "published", "worker", _cause(verdict, best), previous=previous, **figures)


def promote(session: Session, best: BestRow, version: int) -> None:
    """Serves a version and pins it. Again, it changes nothing. Raises ModelNotFound when there is no such version."""
    known = select(ModelVersionRow.version).where(*_of(best), ModelVersionRow.version == version)
    if session.scalar(known) is None:
        raise ModelNotFound(f"model {best.name!r} has no version {version}")
    if best.pinned and best.version == version:
        return
    _pin(session, best, version, "promoted", "pinned by a client")


def roll_back(session: Session, best: BestRow) -> None:
    """Serves the version that was served before the present one, and pins it; once more goes back one further.

    Raises NoEarlierVersion.
    """
    served = _served_before(session, best)
    if not served:
        raise NoEarlierVersion(f"model {best.name!r} has served no version before {best.version}")
    _pin(session, best, served[-1], ROLLED_BACK, f"rolled back from version {best.version}")


def unpin(session: Session, best: BestRow) -> None:
    """Leaves the choice to the rules again, which choose among all versions at once. Again, it changes nothing."""
    if not best.pinned:
        return
    contenders = [_contender(row) for row in session.execute(_contenders(best).order_by(ModelVersionRow.version))]
    previous = best.version
    best.pinned = False
    best.version = choose(contenders, best.margin)
    cause = "unpinned; it stays the best" if best.version == previous else "unpinned; the best of all versions"
    _tell(session, best, "unpinned", "client", cause, previous=previous)


def set_margin(session: Session, best: BestRow, margin: float) -> None:
    """By how much versions that are published from now on must beat the served one; which one serves stays as it is."""
    if best.margin == margin:
        return
    before, best.margin = best.margin, margin
    _tell(session, best, "gate", "client", f"margin {before:g} became {margin:g}", previous=best.version)


def model_events_after(session: Session, tenant: str, name: str, sequence: int, limit: int) -> Sequence[ModelEventRow]:
    """A model's next events, oldest first."""
    row = ModelEventRow
    mine = (row.tenant_id == tenant, row.name == name, row.sequence > sequence)
    return session.scalars(select(row).where(*mine).order_by(row.sequence).limit(limit)).all()


def _pin(session: Session, best: BestRow, version: int, kind: str, cause: str) -> None:
    previous = best.version
    best.version, best.pinned = version, True
    _tell(session, best, kind, "client", cause, previous=previous)


def _tell(
    session: Session, best: BestRow, kind: str, actor: str, cause: str, *, previous: int | None, **more: Any
) -> None:
    """Adds an event that says how the model stands now, what served before, and why."""
    best.revision += 1
    best.last_event += 1
    best.updated_at = utc_now()
    standing = {"best": best.version, "previous": previous, "pinned": best.pinned, "margin": best.margin}
    session.add(
        ModelEventRow(
            tenant_id=best.tenant_id,
            name=best.name,
            sequence=best.last_event,
            kind=kind,
            data={**standing, "actor": actor, "cause": cause, **more},
            created_at=best.updated_at,
        )
    )
    session.flush()


def _cause(verdict: Verdict, best: BestRow) -> str:
    if best.pinned:
        return f"published; version {best.version} is pinned"
    return "published and better" if verdict.better else "published, but not better"


def _served_before(session: Session, best: BestRow) -> list[int]:
    """The versions served before the present one, the latest last; what was rolled back is not among them.

    Of a model that is older than its events, those before the first event are not known.
    """
    query = select(ModelEventRow.kind, ModelEventRow.data).where(
        ModelEventRow.tenant_id == best.tenant_id, ModelEventRow.name == best.name
    )
    served: list[int] = []
    for kind, data in session.execute(query.order_by(ModelEventRow.sequence)):
        previous, now = data["previous"], data["best"]
        if previous is None or previous == now:
            continue
        if kind == ROLLED_BACK:
            served.pop()
        else:
            served.append(previous)
    return served


def _judged(session: Session, best: BestRow, version: int) -> Verdict:
    both = session.execute(_contenders(best).where(ModelVersionRow.version.in_((best.version, version))))
    found = {row.version: _contender(row) for row in both}
    return judge(found[version], found[best.version], best.margin)


def _contenders(best: BestRow) -> Select[Any]:
    return (
        select(
            ModelVersionRow.version,
            ModelVersionRow.objective,
            ModelVersionRow.metrics,
            ModelVersionRow.card["sizes"]["parameters"].as_integer().label("parameters"),
            ArtifactRow.bytes,
        )
        .join(ArtifactRow, ArtifactRow.id == ModelVersionRow.artifact_id)
        .where(*_of(best))
    )


def _contender(row: Row[Any]) -> Contender:
    return Contender(row.version, objective_of(row.objective), row.metrics, row.parameters, row.bytes)


def _of(best: BestRow) -> tuple[Any, ...]:
    return (ModelVersionRow.tenant_id == best.tenant_id, ModelVersionRow.name == best.name)
