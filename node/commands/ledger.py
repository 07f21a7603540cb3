"""`ledger …`: what was said, and whether it holds. Questions are `ledger_reads`, files and care `ledger_files`."""

from __future__ import annotations

from cyclopts import App

from node.commands import ledger_files, ledger_reads

app = App(name="ledger", help="Read, check and hand on what the network's peers have signed.")
app.command(ledger_reads.verify)
app.command(ledger_reads.show)
app.command(ledger_reads.forks)
app.command(ledger_reads.audit)
app.command(ledger_reads.prove)
app.command(ledger_reads.verify_proof)
app.command(ledger_files.export)
app.command(ledger_files.import_, name="import")
app.command(ledger_files.compact)
