package prefectfront

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"faber/internal/front"
)

// maxVerdict is more than an answer to a proposed state ever has.
const maxVerdict = 1 << 20

// noteVerdict writes into the ledger whether a proposed state was accepted: the
// server answers 200 or 201 to those that it refuses, too.
func noteVerdict(res *http.Response) {
	path := res.Request.URL.Path
	if res.StatusCode >= 300 || !strings.HasSuffix(path, "/set_state") || res.ContentLength > maxVerdict {
		return
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxVerdict))
	rest := res.Body
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}
	if err != nil {
		return // Whoever reads on finds out.
	}
	var verdict struct{ Status string }
	if json.Unmarshal(unzipped(head, res.Header), &verdict) != nil || verdict.Status == "" {
		return
	}
	effect := front.EffectNo
	if verdict.Status == "ACCEPT" {
		effect = front.EffectYes
	}
	front.EntryOf(res.Request.Context()).SetEffect(effect)
}

func unzipped(data []byte, header http.Header) []byte {
	if header.Get("Content-Encoding") != "gzip" {
		return data
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxVerdict))
	if err != nil {
		return nil
	}
	return plain
}
