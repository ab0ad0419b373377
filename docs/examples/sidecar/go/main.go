// A service behind a sidecar, in Go without a package: it gets each order once, and publishes a
// receipt with a call of its own. If it dies between the two, the order comes again, and the
// receipt's key is the same: it is published once.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

var (
	sidecar = env("EOS_URL", "http://127.0.0.1:7070")
	topic   = env("TOPIC", "receipts")
	client  = &http.Client{Timeout: 30 * time.Second}
)

// publish publishes a text once for each key, however often it is called.
func publish(ctx context.Context, key, text string) error {
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		again, err := ask(ctx, key, text)
		if !again {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// ask makes one call; it tells whether the same call is to be made again.
func ask(ctx context.Context, key, text string) (again bool, err error) {
	url := sidecar + "/v1/topics/" + topic
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(text))
	if err != nil {
		return false, err
	}
	request.Header.Set("Idempotency-Key", key)
	request.Header.Set("Content-Type", "text/plain")
	response, err := client.Do(request)
	if err != nil { // it may be published, or not
		return true, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return false, nil
	}
	var problem struct{ Detail string }
	_ = json.NewDecoder(response.Body).Decode(&problem)
	err = fmt.Errorf("%s: %s", response.Status, problem.Detail)
	return response.StatusCode == 409 || response.StatusCode == 503, err
}

func handle(answer http.ResponseWriter, request *http.Request) {
	order, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	// The sidecar's own key for the order names what comes of it, too: it is a string in quotes.
	key := request.Header.Get("Idempotency-Key")
	if err := publish(request.Context(), key, "charged "+string(order)); err != nil {
		http.Error(answer, err.Error(), http.StatusServiceUnavailable) // it comes again
		return
	}
	answer.WriteHeader(http.StatusNoContent)
}

func main() {
	address := "127.0.0.1:" + env("PORT", "8080")
	log.Println("listening on", address)
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(handle)))
}
