"""From a decoded cache to a trained, converted, parity-checked bundle."""
