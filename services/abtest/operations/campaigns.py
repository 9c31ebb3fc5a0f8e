"""Finding the campaigns that a request names."""

from collections.abc import Mapping

from services.abtest.store import definitions
from services.common.database import Connection
from services.common.errors import FieldViolation, NotFoundError


async def require_campaigns(connection: Connection, by_field: Mapping[str, str]) -> None:
    """Raise NotFoundError, naming every field whose campaign the catalog lacks, if any is."""
    known = await definitions.list_known_campaigns(connection, list(by_field.values()))
    unknown = [
        FieldViolation(field=field, description=f"no campaign {campaign_id!r}")
        for field, campaign_id in by_field.items()
        if campaign_id not in known
    ]
    if unknown:
        raise NotFoundError(
            "; ".join(f"{violation.field}: {violation.description}" for violation in unknown),
            reason="CAMPAIGN_UNKNOWN",
            violations=unknown,
        )
