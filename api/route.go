package api

// Route is one row of the table of endpoints.
type Route struct{}
