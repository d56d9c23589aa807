package local

// WriteAnewAfter has the journal written anew after fewer bytes of changes than usual.
func (s *State) WriteAnewAfter(bytes int64) { s.journal.minGrowth = bytes }
