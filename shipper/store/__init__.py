"""The store: one SQLite file that is spool, ledger, dead-letter box and the data of the local dashboard.

A document is stored before anything is acknowledged to its input, and it stays until every output has it.
Once :meth:`Store.add` or :meth:`Store.settle` has returned, its changes survive a power cut. One process
writes; any number may read meanwhile.

==================  ============================================================
``schema``          the tables
``documents``       documents and the positions of inputs
``crashes``         their columns, for lists and reports
``arrivals``        what came before a document, for rules that fire once
``incidents``       which incident a document is of
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

from kpanic.shipper.columns import stamp
from kpanic.shipper.store.arrivals import Arrivals
from kpanic.shipper.store.crashes import Crash, Crashes, Selection
from kpanic.shipper.store.deliveries import Deliveries
from kpanic.shipper.store.documents import Documents
from kpanic.shipper.store.errors import StoreDamaged, StoreError, StoreFull, StoreInUse
from kpanic.shipper.store.records import DeadLetter, Expired, OutputStatus, Position, Refusal, Status
from kpanic.shipper.store.retention import Retention

__all__ = [
    "Crash",
    "DeadLetter",
    "Expired",
    "OutputStatus",
    "Position",
    "Refusal",
    "Selection",
    "Status",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
]


class Store(Documents, Crashes, Arrivals, Deliveries, Retention):
    """The store of one machine; see :class:`~kpanic.shipper.store.database.Database` for its arguments."""

    def status(self) -> Status:
        """Return the contents of the store in numbers."""
        with self._reading() as connection:
            documents, expired = connection.execute(
                "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM documents WHERE NOT kept)"
            ).fetchone()
            incidents, fatal = connection.execute(
                "SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM incidents WHERE fatal)"
            ).fetchone()
            first, last = (
                None if at is None else stamp(at)
                for at in connection.execute(
                    "SELECT (SELECT min(at) FROM crashes), (SELECT max(at) FROM crashes)"
                ).fetchone()
            )
        return Status(
            str(self.path),
            self.size(),
            documents,
            documents - expired,
            incidents,
            int(fatal),
            first,
            last,
            self.outputs(),
        )
