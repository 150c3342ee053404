"""HTTP: what every server and every client in this package stands on."""
