"""A request after a write, to a server on this machine."""

import json

import pytest

from refresher.errors import HookError
from refresher.hooks import Subject
from refresher.hooks.http import Request
from tests.commands.daemon import free_port
from tests.issuer.peer import answering, dripping, peer

SUBJECT = Subject("studio", "file:/run/token")


def failure(request: Request, seconds: float = 5.0) -> str:
    with pytest.raises(HookError) as caught:
        request.run(seconds)
    return str(caught.value)


def test_it_posts_the_names_and_no_token():
    with peer(answering(204)) as server:
        assert Request(server.url + "/reload", SUBJECT).run(5.0) == f"sent POST {server.url}/reload"
        (request,) = server.requests
    assert request.startswith("POST /reload HTTP/1.1")
    assert json.loads(request.partition("\r\n\r\n")[2]) == {"token": "studio", "output": "file:/run/token"}


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed(status):
    with (
        peer(answering(200)) as elsewhere,
        peer(answering(status, b"", f"Location: {elsewhere.url}/")) as server,
    ):
        assert f"answered {status}; redirects are not followed" in failure(Request(server.url, SUBJECT))
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_any_other_status_is_a_failure(status):
    with peer(answering(status)) as server:
        assert f"the server answered {status}" in failure(Request(server.url, SUBJECT))


def test_a_server_that_is_not_there_is_a_failure():
    url = f"http://127.0.0.1:{free_port()}/"
    assert "refused" in failure(Request(url, SUBJECT))
    with pytest.raises(HookError, match="refused"):
        Request(url, SUBJECT).check(offline=False)
    assert "not tested" in Request(url, SUBJECT).check(offline=True)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with peer(answering(200)) as server:
        Request(server.url, SUBJECT).run(5.0)


def test_a_check_connects_and_sends_nothing():
    with peer(answering(200)) as server:
        assert Request(server.url, SUBJECT).check(offline=False) == f"would send POST {server.url}"
        assert not any(server.requests)


def test_a_server_that_drips_its_response_is_left_in_time():
    with peer(dripping(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        assert "POST" in failure(Request(server.url, SUBJECT), seconds=0.5)


def test_a_stopped_hook_sends_nothing():
    with peer(answering(200)) as server:
        request = Request(server.url, SUBJECT)
        request.stop()
        assert "the refresher stops" in failure(request)
        assert server.requests == []
