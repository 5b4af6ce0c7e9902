"""Account: the business at Stripe — its catalogue, its payouts, and what nobody else owns."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.base import (
    AccountFact,
    ObjectState,
    StripeFact,
    SubscriptionFact,
    fold_objects,
)


class Account:
    """The account's stream: facts about the business, and deliveries that fit nowhere else."""

    class ProductCreated(AccountFact):
        """`product.created`: A product came into being."""

        TOPIC = "Account.ProductCreated"
        stripe_type = "product.created"

    class ProductUpdated(AccountFact):
        """`product.updated`: A product changed."""

        TOPIC = "Account.ProductUpdated"
        stripe_type = "product.updated"

    class ProductDeleted(AccountFact):
        """`product.deleted`: A product was deleted."""

        TOPIC = "Account.ProductDeleted"
        stripe_type = "product.deleted"

    class PriceCreated(AccountFact):
        """`price.created`: A price came into being."""

        TOPIC = "Account.PriceCreated"
        stripe_type = "price.created"

    class PriceUpdated(AccountFact):
        """`price.updated`: A price changed (never its amount)."""

        TOPIC = "Account.PriceUpdated"
        stripe_type = "price.updated"

    class PriceDeleted(AccountFact):
        """`price.deleted`: A price was deleted."""

        TOPIC = "Account.PriceDeleted"
        stripe_type = "price.deleted"

    class PlanCreated(AccountFact):
        """`plan.created`: A plan, as prices were called, came into being."""

        TOPIC = "Account.PlanCreated"
        stripe_type = "plan.created"

    class PlanUpdated(AccountFact):
        """`plan.updated`: A plan changed."""

        TOPIC = "Account.PlanUpdated"
        stripe_type = "plan.updated"

    class PlanDeleted(AccountFact):
        """`plan.deleted`: A plan was deleted."""

        TOPIC = "Account.PlanDeleted"
        stripe_type = "plan.deleted"

    class CouponCreated(AccountFact):
        """`coupon.created`: A coupon came into being."""

        TOPIC = "Account.CouponCreated"
        stripe_type = "coupon.created"

    class CouponUpdated(AccountFact):
        """`coupon.updated`: A coupon changed."""

        TOPIC = "Account.CouponUpdated"
        stripe_type = "coupon.updated"

    class CouponDeleted(AccountFact):
        """`coupon.deleted`: A coupon was deleted; discounts made from it stay."""

        TOPIC = "Account.CouponDeleted"
        stripe_type = "coupon.deleted"

    class PromotionCodeCreated(AccountFact):
        """`promotion_code.created`: A code for a coupon came into being."""

        TOPIC = "Account.PromotionCodeCreated"
        stripe_type = "promotion_code.created"

    class PromotionCodeUpdated(AccountFact):
        """`promotion_code.updated`: A code for a coupon changed."""

        TOPIC = "Account.PromotionCodeUpdated"
        stripe_type = "promotion_code.updated"

    class TaxRateCreated(AccountFact):
        """`tax_rate.created`: A tax rate came into being."""

        TOPIC = "Account.TaxRateCreated"
        stripe_type = "tax_rate.created"

    class TaxRateUpdated(AccountFact):
        """`tax_rate.updated`: A tax rate changed."""

        TOPIC = "Account.TaxRateUpdated"
        stripe_type = "tax_rate.updated"

    class PayoutCreated(AccountFact):
        """`payout.created`: Money is on its way to the business."""

        TOPIC = "Account.PayoutCreated"
        stripe_type = "payout.created"

    class PayoutUpdated(AccountFact):
        """`payout.updated`: A payout changed."""

        TOPIC = "Account.PayoutUpdated"
        stripe_type = "payout.updated"

    class PayoutPaid(AccountFact):
        """`payout.paid`: A payout should have arrived."""

        TOPIC = "Account.PayoutPaid"
        stripe_type = "payout.paid"

    class PayoutFailed(AccountFact):
        """`payout.failed`: A payout came back."""

        TOPIC = "Account.PayoutFailed"
        stripe_type = "payout.failed"

    class PayoutCanceled(AccountFact):
        """`payout.canceled`: A payout was canceled."""

        TOPIC = "Account.PayoutCanceled"
        stripe_type = "payout.canceled"

    class PayoutReconciled(AccountFact):
        """`payout.reconciliation_completed`: What a payout consists of can now be listed."""

        TOPIC = "Account.PayoutReconciled"
        stripe_type = "payout.reconciliation_completed"

    class StripeEventNoted(SubscriptionFact):
        """Any other Stripe event: of a type we do not read, thin, of the other mode, foreign."""

        TOPIC = "Account.StripeEventNoted"
        has_state = False

    class ConflictingDelivery(SubscriptionFact):
        """Ours: a delivery under an id that the log already has with another content."""

        TOPIC = "Account.ConflictingDelivery"
        has_state = False

    class GapFilled(AccountFact):
        """Ours: these events never arrived; they were fetched from Stripe's list and recorded."""

        TOPIC = "Account.GapFilled"
        has_state = False

    class DeliveryUnreadable(AccountFact):
        """Ours: a correctly signed delivery that is not an event; kept encrypted, unread."""

        TOPIC = "Account.DeliveryUnreadable"
        has_state = False

    class CatalogueObserved(AccountFact):
        """Ours: terms of a coupon or a price, fetched from Stripe because no event told them."""

        TOPIC = "Account.CatalogueObserved"
        has_state = False

    class BalanceObserved(AccountFact):
        """Ours: balance transactions with their fees, fetched from Stripe: no event tells them."""

        TOPIC = "Account.BalanceObserved"
        has_state = False

    class InvoiceLinesObserved(AccountFact):
        """Ours: all lines of an invoice, fetched because its events tell only the first ten."""

        TOPIC = "Account.InvoiceLinesObserved"
        has_state = False

    class CardsAsked(AccountFact):
        """Ours: Stripe was asked which cards expire soon; this is done once a month."""

        TOPIC = "Account.CardsAsked"
        has_state = False

    class BackupVerified(AccountFact):
        """Ours: a copy of the ledger was restored into a scratch server and verified."""

        TOPIC = "Account.BackupVerified"
        has_state = False

    class Audited(AccountFact):
        """Ours: the installation was looked over (`scripts/audit`), with this many findings."""

        TOPIC = "Account.Audited"
        has_state = False

    class KeysPurged(AccountFact):
        """Ours: no file of the server's holds a key that was erased up to the position `until`."""

        TOPIC = "Account.KeysPurged"
        has_state = False

    class RatesImported(AccountFact):
        """Ours: exchange rates, imported by somebody; the last import of a day counts."""

        TOPIC = "Account.RatesImported"
        has_state = False

    class PeriodClosed(AccountFact):
        """Ours: a month was closed; what is learnt of it later is booked after its end."""

        TOPIC = "Account.PeriodClosed"
        has_state = False

    class DefinitionsAdded(AccountFact):
        """Ours: another definition set, all of it, has been put beside those there are."""

        TOPIC = "Account.DefinitionsAdded"
        has_state = False

    class DefinitionsAdopted(AccountFact):
        """Ours: a definition set is the one whose numbers are told from now on."""

        TOPIC = "Account.DefinitionsAdopted"
        has_state = False

    @staticmethod
    def fold(facts: Iterable[StripeFact]) -> dict[str, ObjectState]:
        """Return the last state of each object in the account's stream."""
        return fold_objects(facts)
