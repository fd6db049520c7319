"""What the middleware refuses, answers for the routes, and lets out."""

from __future__ import annotations

from typing import Any

import pytest
from answering import ask, problem
from starlette.types import Receive, Scope, Send

from service.requests import Gate, HeadAsGet, RequestIds


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the method that the app sees, in pieces."""
    headers = [(b"content-length", b"%d" % len(scope["method"]))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for letter in scope["method"]:
        await send({"type": "http.response.body", "body": letter.encode(), "more_body": True})
    await send({"type": "http.response.body"})


class TestRequestIds:
    def test_an_error_that_nobody_has_logged_goes_on_to_the_server(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            raise RuntimeError("in the middle of an answer")

        with pytest.raises(RuntimeError, match="in the middle"):
            ask(RequestIds(broken), "GET", "/")

    def test_an_error_that_is_logged_does_not(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body"})
            error = scope["state"]["logged"] = RuntimeError("answered and logged")
            raise error

        assert ask(RequestIds(broken), "GET", "/").status_code == 500


class TestNul:
    @pytest.mark.parametrize("path", ["/a%00b", "/%00", "/?name=a%00", "/?%00", "/?a=%%00"])
    def test_a_nul_is_refused_wherever_it_is(self, path: str) -> None:
        body = problem(ask(RequestIds(Gate(echo)), "GET", path), 422, "invalid_query")
        assert "NUL" in body["errors"][0]["detail"]

    @pytest.mark.parametrize("path", ["/a%2500b", "/?name=a%2500", "/?0=%30%30"])
    def test_what_only_looks_like_one_passes(self, path: str) -> None:
        assert ask(RequestIds(Gate(echo)), "GET", path).status_code == 200


class TestCrossSite:
    def send(self, method: str = "POST", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(RequestIds(Gate(echo)), method, "/api/v1/jobs", headers=named)

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_a_page_of_another_site_changes_nothing(self, method: str) -> None:
        problem(self.send(method, Sec_Fetch_Site="cross-site"), 403, "cross_site_request")
        problem(self.send(method, Origin="https://evil.example"), 403, "cross_site_request")

    @pytest.mark.parametrize("origin", ["null", "", "http://localhost.evil.example", "http://[", "https://evil@x:y"])
    def test_an_origin_of_any_other_kind_is_another_site(self, origin: str) -> None:
        problem(self.send(Origin=origin), 403, "cross_site_request")

    @pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
    def test_pages_of_this_site_and_the_person_may(self, site: str) -> None:
        assert self.send(Sec_Fetch_Site=site).status_code == 200

    def test_programs_and_pages_of_this_host_may(self) -> None:
        assert self.send().status_code == 200
        assert self.send(Origin="http://localhost:3000").status_code == 200

    def test_reading_is_left_to_the_browsers_own_rules(self) -> None:
        assert self.send("GET", Sec_Fetch_Site="cross-site").status_code == 200


class TestHead:
    def test_it_has_the_headers_of_get_and_no_body(self) -> None:
        get, head = (ask(HeadAsGet(echo), method, "/") for method in ("GET", "HEAD"))
        assert get.content == b"GET"
        assert (head.status_code, head.headers, head.content) == (200, get.headers, b"")

    def test_it_is_over_where_get_goes_on(self) -> None:
        ended: list[bool] = []

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            while (await receive())["type"] != "http.disconnect":
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
            ended.append(True)

        assert ask(HeadAsGet(stream), "HEAD", "/").content == b""
        assert ended
