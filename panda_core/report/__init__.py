"""Results as single HTML files that open anywhere, with no network."""
