// Records audit events over HTTP. Needs Go 1.21, and no modules. Not run by this repository's tests.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	mathrand "math/rand"
	"net/http"
	"os"
	"strconv"
	"time"
)

const attempts = 7

var client = http.Client{Timeout: 35 * time.Second} // the API answers within 30

type event map[string]any

type result struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

func send(request *http.Request) (status int, text []byte, retryAfter time.Duration, err error) {
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, 0, err
	}
	defer answer.Body.Close()
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // 0 if it is a date
	text, err = io.ReadAll(answer.Body)
	return answer.StatusCode, text, time.Duration(seconds) * time.Second, err
}

// record sends events, each with an id of its own, and returns the result of each.
func record(events []event, api, token string) ([]result, error) {
	body, err := json.Marshal(map[string]any{"events": events})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, api+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	for attempt := 0; ; attempt++ {
		request := request.Clone(context.Background())
		request.Body, _ = request.GetBody() // doesn't fail: the body is in memory
		status, text, retryAfter, err := send(request)
		failure := fmt.Sprintf("%d: %s", status, text)
		if err != nil {
			failure, status = err.Error(), http.StatusServiceUnavailable
		}
		switch status {
		case 429, 500, 502, 503, 504:
		default:
			var answer struct{ Results []result }
			if json.Unmarshal(text, &answer) != nil || answer.Results == nil {
				return nil, fmt.Errorf("the request is refused, %s; an earlier attempt may have stored events", failure)
			}
			return answer.Results, nil
		}
		if attempt == attempts-1 {
			return nil, fmt.Errorf("keep the events with their ids, and send them later: %s", failure)
		}
		backoff := time.Duration(500+mathrand.Intn(500)) * time.Millisecond << attempt
		time.Sleep(max(backoff, retryAfter))
	}
}

func main() {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		log.Fatal(err)
	}
	login := event{
		"id":             hex.EncodeToString(id),
		"logType":        "Authentication",
		"action":         "Login",
		"user":           map[string]any{"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
		"additionalInfo": map[string]any{"ip": "192.0.2.7", "mfa": true},
	}
	results, err := record([]event{login}, os.Getenv("API"), os.Getenv("EVENTS_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		// Correct an event that is refused: sending it again doesn't help.
		fmt.Println(result.Status, result.Reason)
	}
}
