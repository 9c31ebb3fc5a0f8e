"""Finding what a request names: the live model, a campaign, a merchant."""

from services.common.database import Connection
from services.common.errors import FailedPreconditionError, NotFoundError
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.models.version import ModelVersion
from services.optimizer.store import catalog, models


class LiveModel:
    """The live version of the conversion model; what does not change about a version is read once."""

    def __init__(self) -> None:
        self._kept: ModelVersion | None = None

    async def require(self, connection: Connection) -> ModelVersion:
        """Return the live version.

        Raises:
            FailedPreconditionError: MODEL_NOT_TRAINED.
        """
        version = await models.fetch_live_version(connection)
        if version is None:
            raise FailedPreconditionError(
                "no model is live; train one first (TrainModel, POST /api/optimize/train-model)",
                reason="MODEL_NOT_TRAINED",
            )
        if self._kept is None or self._kept.version != version:
            self._kept = await require_model(connection, version)
        return self._kept


async def require_model(connection: Connection, version: int) -> ModelVersion:
    """Return a version that is known to be there."""
    model = await models.fetch_model(connection, version)
    if model is None:
        raise LookupError(f"version {version} is not in ml_models")
    return model


async def require_campaign(connection: Connection, campaign_id: str) -> Campaign:
    """Return a campaign of the catalog; raise NotFoundError (CAMPAIGN_UNKNOWN) where there is none."""
    campaign = await catalog.fetch_campaign(connection, campaign_id)
    if campaign is None:
        raise NotFoundError(
            f"no campaign {campaign_id!r}", reason="CAMPAIGN_UNKNOWN", metadata={"campaign_id": campaign_id}
        )
    return campaign


async def require_merchant(connection: Connection, merchant_id: int) -> None:
    """Raise NotFoundError (MERCHANT_UNKNOWN) where the catalog does not know a merchant."""
    if not await catalog.has_merchant(connection, merchant_id):
        raise NotFoundError(
            f"no merchant {merchant_id}",
            reason="MERCHANT_UNKNOWN",
            metadata={"merchant_id": str(merchant_id)},
        )
