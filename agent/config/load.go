package config

// Source names all that makes up a configuration.
type Source struct {
	// Inputs are config files and directories in the order they were given.
	Inputs []Input
	// HCL are fragments of configuration, as -hcl gives them.
	HCL []string
	// Flags are the values of flags by name, in the order they were given.
	Flags []FlagValue
	// Dev starts from development mode's defaults.
	Dev bool
}

// Input is a config file, or a directory of them.
type Input struct {
	Path string
	Dir  bool
	// Format is "hcl" or "json" whatever the file's name; "" goes by its ending.
	Format string
}

// FlagValue is a flag as it was given; Value is "true" for a bare boolean.
type FlagValue struct {
	Name  string
	Value string
}

// Load reads a configuration. The warnings name what was taken but isn't acted
// on; the error joins everything that is wrong.
func Load(s Source) (c *Config, warnings []string, err error) {
	return &Config{}, nil, nil
}
