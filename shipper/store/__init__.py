"""The store: one SQLite file that is spool, ledger, dead-letter box and the data of the local dashboard.

A document is stored before anything is acknowledged to its input, and it stays until every output has it.
What
:meth:`Store.add` and :meth:`Store.settle` have returned from survives a power cut. One process writes, any
    number
may read meanwhile.

==================  ============================================================
``schema``          the tables
``documents``       documents and the positions of inputs
``deliveries``      cursors of outputs, retries, dead letters
``retention``       what expires
``database``        opening the file, transactions, errors
``damage``          finding damage
``salvage``         taking over what can be read of a damaged file
``folder``, \
``lock``            who may write
==================  ============================================================
"""

from __future__ import annotations

from kpanic.shipper.store.deliveries import Deliveries
from kpanic.shipper.store.documents import Documents
from kpanic.shipper.store.errors import StoreDamaged, StoreError, StoreFull, StoreInUse
from kpanic.shipper.store.records import DeadLetter, Expired, OutputStatus, Position, Refusal, Status
from kpanic.shipper.store.retention import Retention

__all__ = [
    "DeadLetter",
    "Expired",
    "OutputStatus",
    "Position",
    "Refusal",
    "Status",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
]


class Store(Documents, Deliveries, Retention):
    """The store of one machine; see :class:`~kpanic.shipper.store.database.Database` for its arguments."""

    def status(self) -> Status:
        """Count what the store holds."""
        with self._reading() as connection:
            documents, kept, first, last = connection.execute(
                "SELECT count(*), coalesce(sum(kept), 0), CAST(min(occurred) AS TEXT),"
                " CAST(max(occurred) AS TEXT) FROM documents"
            ).fetchone()
            incidents, fatal = connection.execute(
                "SELECT count(*), coalesce(sum(fatal), 0) FROM"
                " (SELECT max(fatal) AS fatal FROM documents GROUP BY incident)"
            ).fetchone()
        return Status(
            str(self.path), self.size(), documents, kept, incidents, fatal, first, last, self.outputs()
        )
