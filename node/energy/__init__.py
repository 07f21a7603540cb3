"""What power there is, what a shard draws, and how the two meet in slots. Pure but for sources that read devices."""
