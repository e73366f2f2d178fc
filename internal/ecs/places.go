package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"faber/internal/launch"
)

// whereToLook lists clusters with the clients that see them. The pool's own
// configuration comes first: its credentials are used when they hold no
// placeholder any more. The error is for places that cannot be looked into; none
// can when there is no list.
func (l *Launcher) whereToLook(ctx context.Context, pool launch.Pool) ([]batch, error) {
	c, on, err := l.poolClients(ctx, pool)
	if err != nil {
		return nil, err
	}
	places := []batch{{on: on, cluster: poolCluster(pool)}}
	add := func(b batch) {
		if !slices.ContainsFunc(places, func(p batch) bool { return p.on == b.on && clusterName(p.cluster) == clusterName(b.cluster) }) {
			places = append(places, b)
		}
	}
	var problems []error
	for _, named := range pool.Places {
		cluster, region, ok := parsePlace(named)
		if !ok {
			continue // of another kind of launcher, or of no known place
		}
		there := on
		if region != "" && region != on.region {
			c.Region = region
			if there, err = l.clients.get(ctx, c); err != nil {
				problems = append(problems, fmt.Errorf("find tasks in %s: %w", named, err))
				continue
			}
		}
		add(batch{on: there, cluster: cluster})
	}
	for name, known := range l.places.all() {
		parts := strings.Split(name, " ")
		if known.poolID == pool.ID && len(parts) == 3 && parts[2] != "" {
			add(batch{on: known.on, cluster: parts[2]})
		}
	}
	return places, errors.Join(problems...)
}

// poolClients are those of the pool's credentials.
func (l *Launcher) poolClients(ctx context.Context, pool launch.Pool) (credentials, *clients, error) {
	r := reader{object: pool.Configuration}
	block, _ := pool.Configuration["aws_credentials"].(map[string]any)
	c := parseCredentials(&r, block)
	if len(r.problems) > 0 {
		c = credentials{}
	}
	on, err := l.clients.get(ctx, c)
	if err == nil && c.key() != (credentials{}).key() {
		l.poolCredentials.Store(&c)
	}
	return c, on, err
}

// poolCluster is the cluster that the pool's configuration names.
func poolCluster(pool launch.Pool) string {
	cluster := literal(stringField(pool.Configuration, "cluster"))
	if request, ok := pool.Configuration["task_run_request"].(map[string]any); ok && cluster == "" {
		cluster = literal(stringField(request, "cluster"))
	}
	return orDefault(cluster)
}

// placeOf names a cluster and a region, as far as that is known. parsePlace reads
// it again: it stands in the states of flow runs, on a server that outlives the
// worker.
func placeOf(cluster, region string) string {
	place := "cluster " + cluster
	if region != "" {
		place += " in " + region
	}
	return place
}

func parsePlace(place string) (cluster, region string, ok bool) {
	rest, ok := strings.CutPrefix(place, "cluster ")
	cluster, region, _ = strings.Cut(rest, " in ")
	return cluster, region, ok && cluster != "" && !strings.Contains(cluster, " ")
}

func orDefault(cluster string) string {
	if cluster == "" {
		return "default"
	}
	return cluster
}

func clusterName(cluster string) string { return cluster[strings.LastIndex(cluster, "/")+1:] }

// literal is a value without placeholders, else "".
func literal(s string) string {
	if strings.Contains(s, "{{") {
		return ""
	}
	return s
}
