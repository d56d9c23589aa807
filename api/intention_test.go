package api_test

//lint:file-ignore SA1019 the client's older methods have users too

import (
	"fmt"
	"sync"
	"testing"

	consul "github.com/hashicorp/consul/api"
)

func TestOfficialClient_ConfigEntries(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		entries := c.ConfigEntries()
		web := &consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: "web", Protocol: "http", Meta: map[string]string{"k": "v"}}
		if ok, _, err := entries.Set(web, nil); err != nil || !ok {
			t.Fatalf("set: %v, %v", ok, err)
		}
		got, _, err := entries.Get(consul.ServiceDefaults, "web", nil)
		if err != nil {
			t.Fatal(err)
		}
		if e := got.(*consul.ServiceConfigEntry); e.Protocol != "http" || e.Meta["k"] != "v" || e.ModifyIndex == 0 {
			t.Errorf("got %+v", e)
		}
		web.Protocol = "grpc"
		if ok, _, err := entries.CAS(web, got.GetModifyIndex()+1, nil); err != nil || ok {
			t.Errorf("compare with another index: %v, %v", ok, err)
		}
		if ok, _, err := entries.CAS(web, got.GetModifyIndex(), nil); err != nil || !ok {
			t.Errorf("compare: %v, %v", ok, err)
		}
		if _, _, err := entries.Set(&consul.ServiceResolverConfigEntry{Kind: consul.ServiceResolver, Name: "web",
			Subsets: map[string]consul.ServiceResolverSubset{"v1": {Filter: "Service.Meta.version == v1"}}, ConnectTimeout: 5e9}, nil); err != nil {
			t.Error(err)
		}
		if got, _, err = entries.Get(consul.ServiceResolver, "web", nil); err != nil || got.(*consul.ServiceResolverConfigEntry).ConnectTimeout != 5e9 {
			t.Errorf("resolver: %+v, %v", got, err)
		}
		list, _, err := entries.List(consul.ServiceDefaults, nil)
		if err != nil || len(list) != 1 || list[0].GetName() != "web" {
			t.Errorf("list: %v, %v", list, err)
		}
		if _, err := entries.Delete(consul.ServiceDefaults, "web", nil); err != nil {
			t.Error(err)
		}
		if _, _, err := entries.Get(consul.ServiceDefaults, "web", nil); err == nil {
			t.Error("it is still there")
		}
	})
}

func TestOfficialClient_Intentions(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		id, _, err := c.Connect().IntentionCreate(&consul.Intention{SourceName: "web", DestinationName: "db", Action: consul.IntentionActionAllow, Meta: map[string]string{"k": "v"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Connect().IntentionCreate(&consul.Intention{SourceName: "web", DestinationName: "db", Action: consul.IntentionActionDeny}, nil); err == nil {
			t.Error("the same intention was made twice")
		}
		if _, err := c.Connect().IntentionUpsert(&consul.Intention{SourceName: "api", DestinationName: "db", Action: consul.IntentionActionDeny}, nil); err != nil {
			t.Error(err)
		}
		got, _, err := c.Connect().IntentionGet(id, nil)
		if err != nil || got == nil || got.SourceName != "web" || got.Meta["k"] != "v" || got.Precedence != 9 || got.CreatedAt.IsZero() {
			t.Fatalf("got %+v, %v", got, err)
		}
		got.Action, got.SourceName = consul.IntentionActionDeny, "shop"
		if _, err := c.Connect().IntentionUpdate(got, nil); err != nil {
			t.Error(err)
		}
		got.DestinationName = "other"
		if _, err := c.Connect().IntentionUpdate(got, nil); err == nil {
			t.Error("an intention went to another destination")
		}
		for source, want := range map[string]bool{"web": true, "shop": false, "api": false} {
			if may, _, err := c.Connect().IntentionCheck(&consul.IntentionCheck{Source: source, Destination: "db"}, nil); err != nil || may != want {
				t.Errorf("%s to db: %v, %v", source, may, err)
			}
		}
		exact, _, err := c.Connect().IntentionGetExact("shop", "db", nil)
		if err != nil || exact == nil || exact.ID != id || !exact.CreatedAt.Before(exact.UpdatedAt) {
			t.Errorf("exact %+v, %v", exact, err)
		}
		matches, _, err := c.Connect().IntentionMatch(&consul.IntentionMatch{By: consul.IntentionMatchDestination, Names: []string{"db"}}, nil)
		if err != nil || len(matches["db"]) != 2 {
			t.Errorf("matches %+v, %v", matches, err)
		}
		if _, err := c.Connect().IntentionDelete(id, nil); err != nil {
			t.Error(err)
		}
		if gone, _, err := c.Connect().IntentionGet(id, nil); err != nil || gone != nil {
			t.Errorf("it is still there: %+v, %v", gone, err)
		}
		if _, err := c.Connect().IntentionDeleteExact("api", "db", nil); err != nil {
			t.Error(err)
		}
		if all, _, err := c.Connect().Intentions(nil); err != nil || len(all) != 0 {
			t.Errorf("all %+v, %v", all, err)
		}
	})
}

// Each is made of the entry as it was; who comes second makes it anew.
func TestIntentions_SetAtOnceAreAllKept(t *testing.T) {
	r := newRig(t)
	var setters sync.WaitGroup
	const n = 20
	for i := range n {
		setters.Go(func() {
			if w := r.do("PUT", fmt.Sprintf("/v1/connect/intentions/exact?source=s%d&destination=db", i), `{"Action":"allow"}`); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	setters.Wait()
	for i := range n {
		if w := r.do("GET", fmt.Sprintf("/v1/connect/intentions/exact?source=s%d&destination=db", i), ""); w.Code != 200 {
			t.Errorf("s%d is lost: %d %s", i, w.Code, w.Body)
		}
	}
}
