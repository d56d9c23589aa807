package acl_test

import (
	"fmt"
	"testing"

	"muster/catalog"
	"muster/catalog/acl"
)

// readers may read what begins with their prefix and write nothing.
type readers string

func (r readers) Allowed(res acl.Resource, name string, a acl.Access) bool {
	return res == acl.Service && a <= acl.Read && len(name) >= len(r) && name[:len(r)] == string(r)
}

func (r readers) AllowedAll(res acl.Resource, a acl.Access) bool {
	return r == "" && r.Allowed(res, "", a)
}

func (r readers) ViewID() string { return "readers:" + string(r) }

func TestCheck_SaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		az   acl.Authorizer
		r    acl.Resource
		name string
		a    acl.Access
		want string
	}{
		{acl.AllowAll{}, acl.Operator, "", acl.Write, "<nil>"},
		{readers("web"), acl.Service, "web-1", acl.List, "<nil>"},
		{readers("web"), acl.Service, "db", acl.Read, `Permission denied: token lacks permission 'service:read' on "db"`},
		{readers("web"), acl.Service, "web", acl.Write, `Permission denied: token lacks permission 'service:write' on "web"`},
		{readers(""), acl.Keyring, "", acl.List, "Permission denied: token lacks permission 'keyring:list'"},
		{readers(""), 200, "", 200, "Permission denied: token lacks permission 'unknown:unknown'"},
	} {
		err := acl.Check(c.az, c.r, c.name, c.a)
		if fmt.Sprint(err) != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		if err != nil && catalog.KindOf(err) != catalog.Denied {
			t.Errorf("%v has kind %d, want Denied", err, catalog.KindOf(err))
		}
	}
}

func TestAllowAll_IsOneView(t *testing.T) {
	var az acl.Authorizer = acl.AllowAll{}
	if !az.AllowedAll(acl.Node, acl.Write) || az.ViewID() == "" || az.ViewID() == readers("").ViewID() {
		t.Error("AllowAll refuses something or shares another's view")
	}
}

// What a caller may not see is left out before anything else looks at it.
func ExampleAuthorizer() {
	var az acl.Authorizer = readers("web")
	for _, name := range []string{"db", "web", "web-admin"} {
		if az.Allowed(acl.Service, name, acl.Read) {
			fmt.Println(name)
		}
	}
	// Output:
	// web
	// web-admin
}
