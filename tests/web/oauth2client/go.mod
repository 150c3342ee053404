// An OAuth2 client of the consumers' listener, for the tests.
module inlive.invalid/oauth2client

go 1.25.0

require golang.org/x/oauth2 v0.36.0
