"""HTTP as all parts of the program use it. The clients, of the issuer and of the API server, share deadlines,
bounded responses, TLS, names, proxies, and one table of what a failure means. `server` is the other side: for
the endpoints and the emulator."""
