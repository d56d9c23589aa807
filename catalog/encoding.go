package catalog

// EncodeCommand gives the bytes of a command as they stand in the log.
func EncodeCommand(c Command) ([]byte, error) { return nil, Errorf(Internal, "not built yet") }

// DecodeCommand reads what EncodeCommand wrote.
func DecodeCommand(b []byte) (Command, error) { return nil, Errorf(Internal, "not built yet") }
