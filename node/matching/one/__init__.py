"""One job at given costs: its cheapest placement, exactly, within every limit."""
