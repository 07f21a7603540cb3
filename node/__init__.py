"""What a peer does: a pure core (`core`, `provider`, `requester`, …) and thin shells around it."""
