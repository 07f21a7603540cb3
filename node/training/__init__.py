"""The part that really trains: a DiLoCo run (arXiv:2311.08105) in which one subprocess trains each shard.

    supervisor  starts a worker, speaks to it, ends it; all that the daemon imports
    blobs       files named by their content
    seat        a worker and its files on this node
    wire        what supervisor and worker say to each other
    worker      the subprocess: isolation, then roles, one answer to every command
    roles       what a shard's and the lead's worker do: inner (AdamW), outer (Nesterov), delta, evaluation
    model, text, tensors    what they work on

The daemon never imports torch: it would cost each node 150 MB and a second of CPU, and a crash in native code would
take the node's ledger connection with it.
"""
