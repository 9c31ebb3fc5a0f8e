"""Statements of what analytics publishes of its settings, campaigns and merchants."""

from services.optimizer.domain.campaigns import Campaign, MerchantTerms
from services.optimizer.store.statements import STATEMENTS, Connection, fetch_required


async def fetch_reporting_time_zone(connection: Connection) -> str | None:
    """Return the IANA name of the reporting zone, None before analytics first started."""
    row = await connection.fetchrow(STATEMENTS["fetch_reporting_time_zone"].sql)
    return None if row is None else str(row["reporting_time_zone"])


async def fetch_campaign(connection: Connection, campaign_id: str) -> Campaign | None:
    """Return a campaign of the catalog."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign"].sql, campaign_id)
    if row is None:
        return None
    return Campaign(
        campaign_id=row["campaign_id"],
        campaign_type=row["campaign_type"] or None,
        merchant_id=row["merchant_id"],
        offer_micros=row["offer_amount_micros"],
        gross_margin_rate=row["gross_margin_rate"],
        currency_code=row["currency_code"],
        end_at=row["end_at"],
    )


async def fetch_merchant_terms(connection: Connection, merchant_id: int) -> MerchantTerms:
    """Return what the campaigns of a merchant have in common."""
    return MerchantTerms(**await fetch_required(connection, "fetch_merchant_terms", merchant_id))


async def has_merchant(connection: Connection, merchant_id: int) -> bool:
    """Return whether the catalog knows a merchant."""
    return await connection.fetchrow(STATEMENTS["fetch_merchant"].sql, merchant_id) is not None
