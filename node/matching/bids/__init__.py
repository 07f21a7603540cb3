"""A requester's own question: which bids take the shards of one job, asked and answered live."""
