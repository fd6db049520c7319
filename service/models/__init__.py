"""Published models over HTTP."""
