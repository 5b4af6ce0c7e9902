"""Subscription: its life, its invoices and what was paid on them — facts from Stripe."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.base import ObjectState, StripeFact, SubscriptionFact, fold_objects


class Subscription:
    """A subscription's stream: facts about it, its schedule, its invoices and their payment."""

    class Started(SubscriptionFact):
        """`customer.subscription.created`: A subscription came into being."""

        TOPIC = "Subscription.Started"
        stripe_type = "customer.subscription.created"

    class Updated(SubscriptionFact):
        """`customer.subscription.updated`: Something about a subscription changed."""

        TOPIC = "Subscription.Updated"
        stripe_type = "customer.subscription.updated"

    class Ended(SubscriptionFact):
        """`customer.subscription.deleted`: A subscription ended."""

        TOPIC = "Subscription.Ended"
        stripe_type = "customer.subscription.deleted"

    class Paused(SubscriptionFact):
        """`customer.subscription.paused`: A subscription was paused."""

        TOPIC = "Subscription.Paused"
        stripe_type = "customer.subscription.paused"

    class Resumed(SubscriptionFact):
        """`customer.subscription.resumed`: A paused subscription was resumed."""

        TOPIC = "Subscription.Resumed"
        stripe_type = "customer.subscription.resumed"

    class TrialEnding(SubscriptionFact):
        """`customer.subscription.trial_will_end`: A trial ends in three days or less."""

        TOPIC = "Subscription.TrialEnding"
        stripe_type = "customer.subscription.trial_will_end"

    class PendingUpdateApplied(SubscriptionFact):
        """`customer.subscription.pending_update_applied`: A waiting change took effect."""

        TOPIC = "Subscription.PendingUpdateApplied"
        stripe_type = "customer.subscription.pending_update_applied"

    class PendingUpdateExpired(SubscriptionFact):
        """`customer.subscription.pending_update_expired`: A waiting change was given up."""

        TOPIC = "Subscription.PendingUpdateExpired"
        stripe_type = "customer.subscription.pending_update_expired"

    class ScheduleCreated(SubscriptionFact):
        """`subscription_schedule.created`: A schedule of future phases was made."""

        TOPIC = "Subscription.ScheduleCreated"
        stripe_type = "subscription_schedule.created"

    class ScheduleUpdated(SubscriptionFact):
        """`subscription_schedule.updated`: A schedule's phases changed."""

        TOPIC = "Subscription.ScheduleUpdated"
        stripe_type = "subscription_schedule.updated"

    class ScheduleCanceled(SubscriptionFact):
        """`subscription_schedule.canceled`: A schedule and its subscription were canceled."""

        TOPIC = "Subscription.ScheduleCanceled"
        stripe_type = "subscription_schedule.canceled"

    class ScheduleCompleted(SubscriptionFact):
        """`subscription_schedule.completed`: A schedule's last phase is over."""

        TOPIC = "Subscription.ScheduleCompleted"
        stripe_type = "subscription_schedule.completed"

    class ScheduleReleased(SubscriptionFact):
        """`subscription_schedule.released`: A schedule let its subscription go on without it."""

        TOPIC = "Subscription.ScheduleReleased"
        stripe_type = "subscription_schedule.released"

    class ScheduleAborted(SubscriptionFact):
        """`subscription_schedule.aborted`: A schedule ended because its subscription did."""

        TOPIC = "Subscription.ScheduleAborted"
        stripe_type = "subscription_schedule.aborted"

    class ScheduleExpiring(SubscriptionFact):
        """`subscription_schedule.expiring`: A schedule ends in seven days."""

        TOPIC = "Subscription.ScheduleExpiring"
        stripe_type = "subscription_schedule.expiring"

    class InvoiceCreated(SubscriptionFact):
        """`invoice.created`: An invoice was drafted."""

        TOPIC = "Subscription.InvoiceCreated"
        stripe_type = "invoice.created"

    class InvoiceUpdated(SubscriptionFact):
        """`invoice.updated`: Something about an invoice changed."""

        TOPIC = "Subscription.InvoiceUpdated"
        stripe_type = "invoice.updated"

    class InvoiceDeleted(SubscriptionFact):
        """`invoice.deleted`: A draft invoice was deleted."""

        TOPIC = "Subscription.InvoiceDeleted"
        stripe_type = "invoice.deleted"

    class InvoiceFinalized(SubscriptionFact):
        """`invoice.finalized`: An invoice got its number and may be paid."""

        TOPIC = "Subscription.InvoiceFinalized"
        stripe_type = "invoice.finalized"

    class InvoiceFinalizationFailed(SubscriptionFact):
        """`invoice.finalization_failed`: An invoice could not be finalized."""

        TOPIC = "Subscription.InvoiceFinalizationFailed"
        stripe_type = "invoice.finalization_failed"

    class InvoiceSent(SubscriptionFact):
        """`invoice.sent`: Stripe mailed an invoice."""

        TOPIC = "Subscription.InvoiceSent"
        stripe_type = "invoice.sent"

    class InvoiceUpcoming(SubscriptionFact):
        """`invoice.upcoming`: A renewal is near; this preview has no id of its own."""

        TOPIC = "Subscription.InvoiceUpcoming"
        stripe_type = "invoice.upcoming"
        has_state = False  # a preview, of an invoice that is not made yet

    class InvoiceWillBeDue(SubscriptionFact):
        """`invoice.will_be_due`: An invoice is soon due."""

        TOPIC = "Subscription.InvoiceWillBeDue"
        stripe_type = "invoice.will_be_due"

    class InvoiceOverdue(SubscriptionFact):
        """`invoice.overdue`: An invoice was not paid by its due date."""

        TOPIC = "Subscription.InvoiceOverdue"
        stripe_type = "invoice.overdue"

    class InvoiceOverpaid(SubscriptionFact):
        """`invoice.overpaid`: More was paid on an invoice than it asked for."""

        TOPIC = "Subscription.InvoiceOverpaid"
        stripe_type = "invoice.overpaid"

    class InvoiceVoided(SubscriptionFact):
        """`invoice.voided`: An invoice was voided."""

        TOPIC = "Subscription.InvoiceVoided"
        stripe_type = "invoice.voided"

    class InvoiceMarkedUncollectible(SubscriptionFact):
        """`invoice.marked_uncollectible`: An invoice was given up as uncollectible."""

        TOPIC = "Subscription.InvoiceMarkedUncollectible"
        stripe_type = "invoice.marked_uncollectible"

    class InvoicePaid(SubscriptionFact):
        """`invoice.paid`: An invoice is paid, by Stripe or out of band."""

        TOPIC = "Subscription.InvoicePaid"
        stripe_type = "invoice.paid"

    class PaymentSucceeded(SubscriptionFact):
        """`invoice.payment_succeeded`: Stripe collected an invoice."""

        TOPIC = "Subscription.PaymentSucceeded"
        stripe_type = "invoice.payment_succeeded"

    class PaymentFailed(SubscriptionFact):
        """`invoice.payment_failed`: Stripe tried to collect an invoice and could not."""

        TOPIC = "Subscription.PaymentFailed"
        stripe_type = "invoice.payment_failed"

    class PaymentActionRequired(SubscriptionFact):
        """`invoice.payment_action_required`: The customer must confirm a payment (3-D Secure)."""

        TOPIC = "Subscription.PaymentActionRequired"
        stripe_type = "invoice.payment_action_required"

    class PaymentAttemptRequired(SubscriptionFact):
        """`invoice.payment_attempt_required`: An invoice waits for somebody to attempt it."""

        TOPIC = "Subscription.PaymentAttemptRequired"
        stripe_type = "invoice.payment_attempt_required"

    class InvoicePaymentPaid(SubscriptionFact):
        """`invoice_payment.paid`: A payment was applied to an invoice."""

        TOPIC = "Subscription.InvoicePaymentPaid"
        stripe_type = "invoice_payment.paid"

    class InvoiceItemCreated(SubscriptionFact):
        """`invoiceitem.created`: An item waits for the next invoice."""

        TOPIC = "Subscription.InvoiceItemCreated"
        stripe_type = "invoiceitem.created"

    class InvoiceItemUpdated(SubscriptionFact):
        """`invoiceitem.updated`: A waiting invoice item changed."""

        TOPIC = "Subscription.InvoiceItemUpdated"
        stripe_type = "invoiceitem.updated"

    class InvoiceItemDeleted(SubscriptionFact):
        """`invoiceitem.deleted`: A waiting invoice item was removed."""

        TOPIC = "Subscription.InvoiceItemDeleted"
        stripe_type = "invoiceitem.deleted"

    @staticmethod
    def fold(facts: Iterable[StripeFact]) -> dict[str, ObjectState]:
        """Return the last state of the subscription and of each invoice in its stream."""
        return fold_objects(facts)
