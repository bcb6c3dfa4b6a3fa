"""Notifiers: deliver the messages of the outbox, as a webhook, an alert or a command."""
