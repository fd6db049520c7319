"""What API processes have seen of requests, and the statistics that it is compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import ModelNotFound
from core.tables import ModelVersionRow, TrafficRow, utc_now

FORGOTTEN_AFTER = timedelta(minutes=1)
"""A process that has not written for so long is gone, or has nothing to tell any more."""

Key = tuple[str, int]
"""a model's name and version"""


@dataclass(frozen=True)
class Reference:
    """What a version's traffic is compared with."""

    labels: list[str]
    statistics: dict[str, Any] | None
    """of its training images, as worker/reference.py makes them; None of a version that was published without"""


def write_traffic(session: Session, tenant: str, process: str, seen: Mapping[Key, dict[str, Any]]) -> None:
    """Replaces what `process` has said of these versions, and removes what is forgotten, whoever wrote it."""
    now = utc_now()
    mine = TrafficRow.tenant_id == tenant
    session.execute(delete(TrafficRow).where(mine, TrafficRow.updated_at < now - FORGOTTEN_AFTER))
    for (name, version), data in seen.items():
        here = (TrafficRow.name == name, TrafficRow.version == version, TrafficRow.process == process)
        # Not an update: another process may just be forgetting this row.
        session.execute(delete(TrafficRow).where(mine, *here))
        session.add(
            TrafficRow(tenant_id=tenant, name=name, version=version, process=process, data=data, updated_at=now)
        )


def read_traffic(session: Session, tenant: str, name: str, but_of: str) -> list[tuple[int, dict[str, Any]]]:
    """What processes other than `but_of` have seen of the versions of a model. Raises ModelNotFound."""
    mine = (ModelVersionRow.tenant_id == tenant, ModelVersionRow.name == name)
    if session.scalars(select(ModelVersionRow.version).where(*mine).limit(1)).first() is None:
        raise ModelNotFound(f"there is no model {name!r}")
    rows = session.scalars(
        select(TrafficRow).where(
            TrafficRow.tenant_id == tenant,
            TrafficRow.name == name,
            TrafficRow.process != but_of,
            TrafficRow.updated_at >= utc_now() - FORGOTTEN_AFTER,
        )
    )
    return [(row.version, row.data) for row in rows]


def read_references(session: Session, tenant: str, keys: Collection[Key]) -> dict[Key, Reference]:
    """Of each of these versions that there is."""
    found: dict[Key, Reference] = {}
    for name, version in keys:
        mine = (ModelVersionRow.tenant_id == tenant, ModelVersionRow.name == name, ModelVersionRow.version == version)
        row = session.execute(select(ModelVersionRow.labels, ModelVersionRow.card).where(*mine)).one_or_none()
        if row is not None:
            found[name, version] = Reference(row.labels, row.card.get("reference"))
    return found
