"""The one HTTP server: HTTP/1.1 over TCP, TLS and Unix sockets, for applications with small answers.

How it is built, from the bottom:

- `messages`: what an application receives and returns, and what an application is. Values, no I/O.
- `parsing`: bytes → the head of a request, or the status that refuses it. Strict, no I/O.
- `limits`: what clients may take: seconds, bytes, connections.
- `protocol`: one connection as a state machine without a socket: phases, deadlines, bounds, keep-alive.
- `connection`, `loop`: the sockets of all connections, plain or TLS, on one thread; eviction.
- `sockets`: listening sockets; light enough to be imported before the first token.
- `hosts`: which ``Host`` headers can only mean this machine.

To add a use, write one module with an `Application`, and give it to a `Server`::

    class Tokens:
        def admit(self, request: Request) -> Response | None:  # the head only: refuse before a body is read
            return None if is_own_host(request.host) else self.refuse(HTTPStatus.FORBIDDEN)

        def answer(self, request: Request) -> Reply:
            if request.path == "/expired/studio":
                return Later(self.wait_for_the_next(request), within=10.0, otherwise=self.refuse(...))
            return Response(HTTPStatus.OK, token, "application/json")

        def refuse(self, status: HTTPStatus) -> Response:  # what the server refuses by itself
            return Response(status, status.phrase.encode(), "text/plain")

    server = Server(bind_unix("/run/inlive/token.sock", mode=0o660, group="www-data"), Tokens())
    threading.Thread(target=server.serve).start()
    ...
    server.stop()

`Application.answer` runs on the server's thread, so it must not wait. What takes long comes as `Later`: a
`concurrent.futures.Future` that any thread may resolve. What is not an HTTP response at all comes as
`Takeover`: the application gets the socket, on a thread of its own.
"""
