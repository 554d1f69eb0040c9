"""The page to try the saved models on: python ui/app.py."""
