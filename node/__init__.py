"""What a peer does: a pure core (`core`, `market`, `feeds`, `claims`, …) and thin shells around it."""
