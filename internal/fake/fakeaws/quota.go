package fakeaws

import "time"

// allowance is a token bucket, as AWS's documentation of request throttling tells
// of one.
type allowance struct {
	burst, perSecond, tokens float64
	at                       time.Time
}

// Quota has AWS throttle an operation: it takes burst calls at once and perSecond
// after that, and refuses the others with ThrottlingException. Throttled calls
// cost nothing. A burst of 0 ends it.
func (s *Server) Quota(op string, burst int, perSecond float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if burst == 0 {
		delete(s.quotas, op)
		return
	}
	s.quotas[op] = &allowance{burst: float64(burst), perSecond: perSecond, tokens: float64(burst), at: time.Now()}
}

// PublishedQuotas sets those that AWS publishes for ECS on Fargate:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
// and https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html.
// Operations that share a quota there have it each here.
func (s *Server) PublishedQuotas() {
	s.Quota("RunTask", 20, 20)
	s.Quota("StopTask", 100, 40)
	s.Quota("DescribeTasks", 100, 20)
	s.Quota("ListTasks", 100, 20)
	s.Quota("RegisterTaskDefinition", 20, 1)
	s.Quota("DeregisterTaskDefinition", 20, 1)
	s.Quota("DescribeTaskDefinition", 50, 20)
}

// throttle is the refusal of a call that came too soon, else nil; s.mu is held.
func (s *Server) throttle(call Call) *Fault {
	a := s.quotas[call.Op]
	if a == nil {
		return nil
	}
	a.tokens = min(a.burst, a.tokens+call.At.Sub(a.at).Seconds()*a.perSecond)
	a.at = call.At
	if a.tokens < 1 {
		return &Fault{Code: "ThrottlingException", Message: "Rate exceeded"}
	}
	a.tokens--
	return nil
}
