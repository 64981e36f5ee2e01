"""The ledger: idempotency keys, audit entries, attempts and the outbox, written with the aggregate or not at all."""

from usecasecore.ledger.tables import LedgerTables, ledger_tables

__all__ = ["LedgerTables", "ledger_tables"]
