"""The views, their settings, and the refresh of the figures behind them."""
