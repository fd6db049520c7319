"""Jobs over HTTP: submit, read, watch, cancel."""
