"""The app's scans: one SQLite file on the device, asked, changed, and taken elsewhere."""
