package main

import (
	"strings"
	"testing"
)

const usageJSON = `{"Usage":{
 "dc1":{"Nodes":3,"Services":8,"BillableServiceInstances":12,"ConnectServiceInstances":{"connect-proxy":2,"connect-native":1}},
 "dc2":{"Nodes":1,"Services":1,"BillableServiceInstances":1,"ConnectServiceInstances":{"connect-proxy":1,"connect-native":0}}}}`

// What Consul 1.21.4 printed, blanks at the ends of lines included.
func TestUsage_PrintsWhatConsulPrints(t *testing.T) {
	one := `{"Usage":{"dc1":{"Nodes":1,"Services":8,"BillableServiceInstances":4,"ConnectServiceInstances":{"connect-proxy":1,"terminating-gateway":0}}}}`
	serve(t, map[string]string{"GET /v1/operator/usage": one, "GET /v1/operator/usage?global=": usageJSON})
	const billable = `Billable Service Instances Total: 4
dc1 Billable Service Instances: 4

Billable Services
Services      Service instances
8             4


Nodes
Datacenter      Count            
dc1             1
                
Total           1


`
	const connect = `Connect Services
Type                     Service instances
connect-proxy            1
terminating-gateway      0
`
	const all = `Billable Service Instances Total: 13
dc1 Billable Service Instances: 12
dc2 Billable Service Instances: 1

Billable Services
Datacenter      Services      Service instances
dc1             8             12
dc2             1             1
                              
Total           9             13


Nodes
Datacenter      Count            
dc1             3
dc2             1
                
Total           4


Connect Services
Datacenter      Type                Service instances
dc1             connect-native      1
dc1             connect-proxy       2
dc2             connect-native      0
dc2             connect-proxy       1
                                    
Total                               4
`
	for args, want := range map[string]string{"": billable + connect, "-billable": billable, "-connect": connect, "-all-datacenters": all} {
		out, errOut, code := muster(t, append([]string{"operator", "usage", "instances"}, strings.Fields(args)...)...)
		if out != want || errOut != "" || code != 0 {
			t.Errorf("%s: code %d, %s\nprints\n%s\nwant\n%s", args, code, errOut, out, want)
		}
	}
	if _, errOut, code := muster(t, "operator", "usage", "instances", "-billable", "-connect"); code != 1 || errOut != "Cannot specify both -billable and -connect flags\n" {
		t.Errorf("both: code %d, %s", code, errOut)
	}
}
