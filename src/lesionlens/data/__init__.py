"""From an archive of dermoscopy to frames, splits and a decoded cache."""
