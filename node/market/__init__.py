"""What a node sells and buys: bids, awards, leases, rounds, receipts, settlements. Pure."""
