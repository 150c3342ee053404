"""The project's HTTP server: HTTP/1.1 over TCP, TLS and Unix sockets, for applications with small responses.

The modules, from the bottom:

- `messages`: requests, responses, and the interface of an application. Values, no I/O.
- `parsing`: bytes → the head of a request, or the status that refuses it. Strict, no I/O.
- `limits`: the seconds, bytes and connections that clients may use.
- `protocol`: one connection as a state machine without a socket: phases, deadlines, bounds, keep-alive.
- `connection`, `loop`: the sockets of all connections, plain or TLS, on one thread; eviction.
- `sockets`: listening sockets; cheap to import before the first token.
- `hosts`: which ``Host`` headers can only mean this machine.

To serve something new, write one module with an `Application`, and pass it to a `Server`::

    class Tokens:
        def admit(self, request: Request) -> Response | None:  # the head only: refuse before a body is read
            return None if is_own_host(request.host) else self.refuse(HTTPStatus.FORBIDDEN)

        def answer(self, request: Request) -> Reply:
            if request.path == "/expired/studio":
                return Later(self.wait_for_the_next(request), within=10.0, otherwise=self.refuse(...))
            return Response(HTTPStatus.OK, token, "application/json")

        def refuse(self, status: HTTPStatus) -> Response:  # for requests that the server refuses
            return Response(status, status.phrase.encode(), "text/plain")

    server = Server(bind_unix("/run/inlive/token.sock", mode=0o660, group="www-data"), Tokens())
    threading.Thread(target=server.serve).start()
    ...
    server.stop()

`Application.answer` runs on the server's thread, so it must not wait. For a slow response, return `Later`: a
`concurrent.futures.Future` that any thread may resolve. To send something that is not an HTTP response,
return `Takeover`: the application gets the socket, on a thread of its own.
"""
