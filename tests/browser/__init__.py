"""The widget and the demo page in a real Chromium, against a real server process."""
