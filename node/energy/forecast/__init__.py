"""What is to come: surplus and intensity per slot, with how far to believe it."""
