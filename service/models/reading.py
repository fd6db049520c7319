"""One model as its watchers read it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.repositories.best import model_events_after
from core.repositories.models import get_best, list_versions
from core.tables import BestRow
from service.context import Context
from service.models.schemas import ModelView, view_model, view_version
from service.watching import EVENTS_A_READ, Moment


def present_model(session: Session, best: BestRow) -> ModelView:
    """The model of a row that was just read or changed."""
    versions = list_versions(session, best.tenant_id, best.name)
    return view_model(best, [view_version(version) for version in versions])


def read_model(context: Context, tenant: str, name: str) -> ModelView:
    """Raises ModelNotFound."""
    with context.database.snapshot() as session:
        return present_model(session, get_best(session, tenant, name))


def read_moment(context: Context, tenant: str, name: str, after: int) -> Moment:
    """A model never ends. Raises ModelNotFound."""
    with context.database.snapshot() as session:
        get_best(session, tenant, name)
        return Moment({}, False, model_events_after(session, tenant, name, after, EVENTS_A_READ))
