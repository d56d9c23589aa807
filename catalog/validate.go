package catalog

// Normalize fills in what a request may leave out.
func (r *Register) Normalize() {}

// Validate says what is wrong with a register, nil if nothing.
func (r *Register) Validate() error { return nil }

// Validate says what is wrong with a deregister, nil if nothing.
func (d *Deregister) Validate() error { return nil }

// Worse gives the worse of two check states.
func Worse(a, b string) string { return a }
