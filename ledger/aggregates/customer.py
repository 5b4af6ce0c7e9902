"""Customer: who pays, with what, and what came of it — facts from Stripe, and their erasure."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.base import (
    CustomerFact,
    ObjectState,
    StripeFact,
    SubscriptionFact,
    fold_objects,
)


class Customer:
    """A customer's stream: facts about them, their payment methods, payments and disputes."""

    class Created(CustomerFact):
        """`customer.created`: A customer came into being."""

        TOPIC = "Customer.Created"
        stripe_type = "customer.created"

    class Updated(CustomerFact):
        """`customer.updated`: Something about a customer changed."""

        TOPIC = "Customer.Updated"
        stripe_type = "customer.updated"

    class Deleted(CustomerFact):
        """`customer.deleted`: A customer was deleted at Stripe; subscriptions end with them."""

        TOPIC = "Customer.Deleted"
        stripe_type = "customer.deleted"

    class DiscountCreated(SubscriptionFact):
        """`customer.discount.created`: A customer or a subscription got a discount."""

        TOPIC = "Customer.DiscountCreated"
        stripe_type = "customer.discount.created"

    class DiscountUpdated(SubscriptionFact):
        """`customer.discount.updated`: A discount was exchanged for another."""

        TOPIC = "Customer.DiscountUpdated"
        stripe_type = "customer.discount.updated"

    class DiscountDeleted(SubscriptionFact):
        """`customer.discount.deleted`: A discount ended."""

        TOPIC = "Customer.DiscountDeleted"
        stripe_type = "customer.discount.deleted"

    class SourceCreated(CustomerFact):
        """`customer.source.created`: A source of money was added (before payment methods)."""

        TOPIC = "Customer.SourceCreated"
        stripe_type = "customer.source.created"

    class SourceUpdated(CustomerFact):
        """`customer.source.updated`: A source changed."""

        TOPIC = "Customer.SourceUpdated"
        stripe_type = "customer.source.updated"

    class SourceDeleted(CustomerFact):
        """`customer.source.deleted`: A source was removed."""

        TOPIC = "Customer.SourceDeleted"
        stripe_type = "customer.source.deleted"

    class SourceExpiring(CustomerFact):
        """`customer.source.expiring`: A card or source expires at the end of the month."""

        TOPIC = "Customer.SourceExpiring"
        stripe_type = "customer.source.expiring"

    class TaxIdCreated(CustomerFact):
        """`customer.tax_id.created`: A tax id was given."""

        TOPIC = "Customer.TaxIdCreated"
        stripe_type = "customer.tax_id.created"

    class TaxIdUpdated(CustomerFact):
        """`customer.tax_id.updated`: A tax id changed or was verified."""

        TOPIC = "Customer.TaxIdUpdated"
        stripe_type = "customer.tax_id.updated"

    class TaxIdDeleted(CustomerFact):
        """`customer.tax_id.deleted`: A tax id was removed."""

        TOPIC = "Customer.TaxIdDeleted"
        stripe_type = "customer.tax_id.deleted"

    class PaymentMethodAttached(CustomerFact):
        """`payment_method.attached`: A payment method was attached to a customer."""

        TOPIC = "Customer.PaymentMethodAttached"
        stripe_type = "payment_method.attached"

    class PaymentMethodUpdated(CustomerFact):
        """`payment_method.updated`: A payment method changed."""

        TOPIC = "Customer.PaymentMethodUpdated"
        stripe_type = "payment_method.updated"

    class PaymentMethodRefreshed(CustomerFact):
        """`payment_method.automatically_updated`: The network replaced a card's details."""

        TOPIC = "Customer.PaymentMethodRefreshed"
        stripe_type = "payment_method.automatically_updated"

    class PaymentMethodDetached(CustomerFact):
        """`payment_method.detached`: A payment method was removed from its customer."""

        TOPIC = "Customer.PaymentMethodDetached"
        stripe_type = "payment_method.detached"

    class SetupIntentCreated(CustomerFact):
        """`setup_intent.created`: Saving a payment method was begun."""

        TOPIC = "Customer.SetupIntentCreated"
        stripe_type = "setup_intent.created"

    class SetupIntentRequiresAction(CustomerFact):
        """`setup_intent.requires_action`: Saving a payment method needs the customer."""

        TOPIC = "Customer.SetupIntentRequiresAction"
        stripe_type = "setup_intent.requires_action"

    class SetupIntentSucceeded(CustomerFact):
        """`setup_intent.succeeded`: A payment method was saved."""

        TOPIC = "Customer.SetupIntentSucceeded"
        stripe_type = "setup_intent.succeeded"

    class SetupIntentFailed(CustomerFact):
        """`setup_intent.setup_failed`: A payment method could not be saved."""

        TOPIC = "Customer.SetupIntentFailed"
        stripe_type = "setup_intent.setup_failed"

    class SetupIntentCanceled(CustomerFact):
        """`setup_intent.canceled`: Saving a payment method was given up."""

        TOPIC = "Customer.SetupIntentCanceled"
        stripe_type = "setup_intent.canceled"

    class PaymentIntentCreated(CustomerFact):
        """`payment_intent.created`: Collecting an amount was begun."""

        TOPIC = "Customer.PaymentIntentCreated"
        stripe_type = "payment_intent.created"

    class PaymentIntentProcessing(CustomerFact):
        """`payment_intent.processing`: A payment is on its way (bank debits)."""

        TOPIC = "Customer.PaymentIntentProcessing"
        stripe_type = "payment_intent.processing"

    class PaymentIntentRequiresAction(CustomerFact):
        """`payment_intent.requires_action`: A payment needs the customer."""

        TOPIC = "Customer.PaymentIntentRequiresAction"
        stripe_type = "payment_intent.requires_action"

    class PaymentIntentCapturable(CustomerFact):
        """`payment_intent.amount_capturable_updated`: An authorised amount may be captured."""

        TOPIC = "Customer.PaymentIntentCapturable"
        stripe_type = "payment_intent.amount_capturable_updated"

    class PaymentIntentPartiallyFunded(CustomerFact):
        """`payment_intent.partially_funded`: Part of an amount came in."""

        TOPIC = "Customer.PaymentIntentPartiallyFunded"
        stripe_type = "payment_intent.partially_funded"

    class PaymentIntentFailed(CustomerFact):
        """`payment_intent.payment_failed`: An attempt to pay failed; the decline code is here."""

        TOPIC = "Customer.PaymentIntentFailed"
        stripe_type = "payment_intent.payment_failed"

    class PaymentIntentSucceeded(CustomerFact):
        """`payment_intent.succeeded`: An amount was collected."""

        TOPIC = "Customer.PaymentIntentSucceeded"
        stripe_type = "payment_intent.succeeded"

    class PaymentIntentCanceled(CustomerFact):
        """`payment_intent.canceled`: Collecting an amount was given up."""

        TOPIC = "Customer.PaymentIntentCanceled"
        stripe_type = "payment_intent.canceled"

    class ChargePending(CustomerFact):
        """`charge.pending`: A charge waits for the bank."""

        TOPIC = "Customer.ChargePending"
        stripe_type = "charge.pending"

    class ChargeSucceeded(CustomerFact):
        """`charge.succeeded`: A charge went through."""

        TOPIC = "Customer.ChargeSucceeded"
        stripe_type = "charge.succeeded"

    class ChargeFailed(CustomerFact):
        """`charge.failed`: A charge was declined; the outcome says why."""

        TOPIC = "Customer.ChargeFailed"
        stripe_type = "charge.failed"

    class ChargeCaptured(CustomerFact):
        """`charge.captured`: An authorised charge was captured."""

        TOPIC = "Customer.ChargeCaptured"
        stripe_type = "charge.captured"

    class ChargeExpired(CustomerFact):
        """`charge.expired`: An authorised charge was never captured."""

        TOPIC = "Customer.ChargeExpired"
        stripe_type = "charge.expired"

    class ChargeUpdated(CustomerFact):
        """`charge.updated`: A charge changed."""

        TOPIC = "Customer.ChargeUpdated"
        stripe_type = "charge.updated"

    class ChargeRefunded(CustomerFact):
        """`charge.refunded`: A charge was refunded, in part or whole; the amount is cumulative."""

        TOPIC = "Customer.ChargeRefunded"
        stripe_type = "charge.refunded"

    class ChargeRefundUpdated(CustomerFact):
        """`charge.refund.updated`: A refund changed (its older event type)."""

        TOPIC = "Customer.ChargeRefundUpdated"
        stripe_type = "charge.refund.updated"

    class RefundCreated(CustomerFact):
        """`refund.created`: A refund was begun."""

        TOPIC = "Customer.RefundCreated"
        stripe_type = "refund.created"

    class RefundUpdated(CustomerFact):
        """`refund.updated`: A refund changed."""

        TOPIC = "Customer.RefundUpdated"
        stripe_type = "refund.updated"

    class RefundFailed(CustomerFact):
        """`refund.failed`: A refund did not reach the customer."""

        TOPIC = "Customer.RefundFailed"
        stripe_type = "refund.failed"

    class DisputeCreated(CustomerFact):
        """`charge.dispute.created`: A customer disputed a charge at their bank."""

        TOPIC = "Customer.DisputeCreated"
        stripe_type = "charge.dispute.created"

    class DisputeUpdated(CustomerFact):
        """`charge.dispute.updated`: A dispute changed."""

        TOPIC = "Customer.DisputeUpdated"
        stripe_type = "charge.dispute.updated"

    class DisputeClosed(CustomerFact):
        """`charge.dispute.closed`: A dispute was won, lost or withdrawn."""

        TOPIC = "Customer.DisputeClosed"
        stripe_type = "charge.dispute.closed"

    class DisputeFundsWithdrawn(CustomerFact):
        """`charge.dispute.funds_withdrawn`: The disputed amount was taken from the business."""

        TOPIC = "Customer.DisputeFundsWithdrawn"
        stripe_type = "charge.dispute.funds_withdrawn"

    class DisputeFundsReinstated(CustomerFact):
        """`charge.dispute.funds_reinstated`: The disputed amount was given back."""

        TOPIC = "Customer.DisputeFundsReinstated"
        stripe_type = "charge.dispute.funds_reinstated"

    class CheckoutCompleted(SubscriptionFact):
        """`checkout.session.completed`: A customer finished Checkout."""

        TOPIC = "Customer.CheckoutCompleted"
        stripe_type = "checkout.session.completed"

    class CheckoutExpired(SubscriptionFact):
        """`checkout.session.expired`: A Checkout was abandoned."""

        TOPIC = "Customer.CheckoutExpired"
        stripe_type = "checkout.session.expired"

    class CheckoutPaymentSucceeded(SubscriptionFact):
        """`checkout.session.async_payment_succeeded`: A slow payment of a Checkout came in."""

        TOPIC = "Customer.CheckoutPaymentSucceeded"
        stripe_type = "checkout.session.async_payment_succeeded"

    class CheckoutPaymentFailed(SubscriptionFact):
        """`checkout.session.async_payment_failed`: A slow payment of a Checkout failed."""

        TOPIC = "Customer.CheckoutPaymentFailed"
        stripe_type = "checkout.session.async_payment_failed"

    class CreditNoteCreated(CustomerFact):
        """`credit_note.created`: Part of an invoice was credited."""

        TOPIC = "Customer.CreditNoteCreated"
        stripe_type = "credit_note.created"

    class CreditNoteUpdated(CustomerFact):
        """`credit_note.updated`: A credit note changed."""

        TOPIC = "Customer.CreditNoteUpdated"
        stripe_type = "credit_note.updated"

    class CreditNoteVoided(CustomerFact):
        """`credit_note.voided`: A credit note was voided."""

        TOPIC = "Customer.CreditNoteVoided"
        stripe_type = "credit_note.voided"

    class ChurnReasonCategorized(CustomerFact):
        """Ours: somebody decided in which category the reason of a customer's leaving belongs."""

        TOPIC = "Customer.ChurnReasonCategorized"
        has_state = False

    class CardExpiring(CustomerFact):
        """Ours: a card that is charged expires within weeks; the date itself is never kept."""

        TOPIC = "Customer.CardExpiring"
        has_state = False

    class CustomerErased(CustomerFact):
        """Ours: what is personal about this customer can no longer be read by anybody."""

        TOPIC = "Customer.CustomerErased"
        has_state = False

    @staticmethod
    def fold(facts: Iterable[StripeFact]) -> dict[str, ObjectState]:
        """Return the last state of the customer and of each object in their stream."""
        return fold_objects(facts)
