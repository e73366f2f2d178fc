package worker

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/fair"
)

func TestSubmitTokensGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &submits{limit: 2}
		var all sync.WaitGroup
		began, singleAfter := time.Now(), time.Duration(0)
		launch := func(deployment string) {
			all.Go(func() {
				if !s.take(t.Context(), fair.Who{Deployment: deployment}) {
					t.Error("no token")
					return
				}
				if deployment == "single" {
					singleAfter = time.Since(began)
				}
				time.Sleep(time.Second)
				s.giveBack()
			})
			synctest.Wait()
		}
		for range 500 {
			launch("many")
		}
		launch("single")
		if got := s.inUse(); got != 2 {
			t.Errorf("%d of two tokens are taken", got)
		}
		all.Wait()
		if took := time.Since(began); took != 251*time.Second {
			t.Errorf("501 launches of a second, two at a time, took %s", took)
		}
		if singleAfter > time.Second {
			t.Errorf("the single run waited for %s", singleAfter)
		}
		if got := s.inUse(); got != 0 {
			t.Errorf("%d tokens are lost", got)
		}
	})
}

func TestATokenThatNobodyTakesIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &submits{limit: 1}
		for range 100 {
			if !s.take(t.Context(), fair.Who{}) {
				t.Fatal("no token")
			}
			ctx, cancel := context.WithCancel(t.Context())
			var other sync.WaitGroup
			other.Go(func() {
				if s.take(ctx, fair.Who{}) {
					s.giveBack()
				}
			})
			synctest.Wait()
			go cancel()
			s.giveBack() // at the same moment
			other.Wait()
		}
		if got := s.inUse(); got != 0 {
			t.Errorf("%d tokens are lost", got)
		}
	})
}
