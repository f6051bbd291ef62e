"""From an image to its features: `trunk` (frozen), `cache` (its activations on disk), `space` (tail and norm)."""
