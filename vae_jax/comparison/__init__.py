"""The comparison: one decoder under every inference, and every model on the same data."""
