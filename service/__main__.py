"""`python -m service [--fd N]`: runs the API, on a socket that is already listening if one is handed over."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # A sixth of the time until the API is ready would go into collecting what imports leave. It is enabled again, with
    # other thresholds, by tune_interpreter.
    gc.disable()
    from service.server import main

    main()
