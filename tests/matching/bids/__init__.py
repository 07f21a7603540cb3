"""The matching of bids."""
