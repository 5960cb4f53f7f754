"""The app: a phone screen in Python (Flet), for Android, desktop and the browser.

A screen is a function of observable state. Pictures never leave the device.
"""
