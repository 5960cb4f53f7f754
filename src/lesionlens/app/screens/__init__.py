"""One function per screen: what is shown for the state as it is."""
