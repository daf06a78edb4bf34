"""The widget in every browser: Chromium, Firefox and WebKitGTK, driven by one small interface."""
