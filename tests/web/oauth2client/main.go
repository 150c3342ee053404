// Asks the token URL for a token and calls a URL with it: oauth2client TOKEN_URL CLIENT_ID CLIENT_SECRET URL
package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	config := clientcredentials.Config{TokenURL: os.Args[1], ClientID: os.Args[2], ClientSecret: os.Args[3]}
	token, err := config.Token(context.Background())
	if err != nil {
		fail(err)
	}
	response, err := config.Client(context.Background()).Get(os.Args[4])
	if err != nil {
		fail(err)
	}
	io.Copy(io.Discard, response.Body)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"access_token": token.AccessToken,
		"type":         token.Type(),
		"left":         time.Until(token.Expiry).Seconds(),
		"status":       response.StatusCode,
	})
}

func fail(err error) {
	os.Stderr.WriteString(err.Error() + "\n")
	os.Exit(1)
}
