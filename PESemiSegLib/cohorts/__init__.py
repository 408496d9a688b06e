"""The manifest of cases and the slice cache that training reads."""
