"""`python -m service [--fd N]`: runs the API, on a socket that is already listening if one is handed over."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

if __name__ == "__main__":
    # A sixth of the time until the API is ready would go into collecting what imports leave. It is enabled again, with
    # other thresholds, by tune_interpreter.
    gc.disable()
    # And a thirtieth into rich, which structlog imports where it is installed, for tracebacks that our logs do not use.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import_module("structlog")
    del sys.modules["rich"]

    from service.server import main

    main()
