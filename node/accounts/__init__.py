"""What a job emitted, told five ways, and its matchings repeated. Pure."""
