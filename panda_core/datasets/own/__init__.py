"""Images of one's own: folders, dropped files, and what can be understood of them."""
