"""What has been said, and what follows from it. Pure but for `store/`."""
