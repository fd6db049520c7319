"""Load from another process: wrk where it is installed, else a small generator of our own (`python load.py …`)."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 8

WRK_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*all")
{headers}
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout
  io.write(string.format('\\n{{"rps": %f, "p50": %f, "p99": %f, "bad": %d}}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000, bad))
end
"""


@dataclass(frozen=True)
class Figures:
    """Requests a second, and latencies in milliseconds."""

    rps: float
    p50: float
    p99: float
    bad: int


def generator() -> str:
    return "wrk" if shutil.which("wrk") else "benchmarks/load.py"


def measure(url: str, body: bytes, headers: dict[str, str], seconds: float, connections: int = CONNECTIONS) -> Figures:
    """POSTs `body` over several connections for some seconds, after a second of warming up."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "body"
        file.write_bytes(body)
        _run(url, file, headers, 1.0, connections)
        figures = _run(url, file, headers, seconds, connections)
    if figures.bad:
        raise RuntimeError(f"{figures.bad} requests to {url} failed")
    return figures


def _run(url: str, body: Path, headers: dict[str, str], seconds: float, connections: int) -> Figures:
    if shutil.which("wrk"):
        script = body.with_name("post.lua")
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write_text(WRK_SCRIPT.format(body=body, headers=lines))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    else:
        command = [sys.executable, __file__, url, str(body), json.dumps(headers), str(seconds), str(connections)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Figures(**json.loads(output.strip().splitlines()[-1]))


async def _client(url: str, request: bytes, until: float, latencies: list[float]) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    bad = 0
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - started)
        bad += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return bad


async def _generate(url: str, body: bytes, headers: dict[str, str], seconds: float, connections: int) -> Figures:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{given}Content-Length: {len(body)}\r\n\r\n"
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    clients = (_client(url, head.encode() + body, until, latencies) for _ in range(connections))
    bad = sum(await asyncio.gather(*clients))
    cuts = statistics.quantiles(latencies, n=100)
    return Figures(len(latencies) / seconds, cuts[49] * 1000, cuts[98] * 1000, bad)


if __name__ == "__main__":
    address, file, given, duration, clients = sys.argv[1:]
    content = Path(file).read_bytes()
    figures = asyncio.run(_generate(address, content, json.loads(given), float(duration), int(clients)))
    print(json.dumps(figures.__dict__))
