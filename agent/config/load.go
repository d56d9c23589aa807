package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"muster/agent/local"
	"muster/catalog"
)

// Source names all that makes up a configuration.
type Source struct {
	// Inputs are config files and directories in the order they were given.
	Inputs []Input
	// Flags are the values of flags in the order they were given.
	Flags []FlagValue
	// HCL are fragments of configuration, as -hcl gives them. They come last.
	HCL []string
	// Dev starts from development mode's defaults.
	Dev bool
}

// Input is a config file, or a directory of which the files that end in .hcl or
// .json are read in the order of their names.
type Input struct {
	Path string
	// Format is "hcl" or "json" whatever the file's name; "" goes by its ending.
	Format string
}

// FlagValue is a flag as it was given; Value is "true" for a bare boolean.
type FlagValue struct {
	Name  string
	Value string
}

// Load reads a configuration. The warnings name what was taken but isn't acted
// on, and what may surprise; the error joins everything that is wrong.
func Load(s Source) (c *Config, warnings []string, err error) {
	d := newDraft(s.Dev)
	for _, input := range s.Inputs {
		d.readInput(input)
	}
	for _, f := range s.Flags {
		d.setFlag(f)
	}
	for i, text := range s.HCL {
		d.read([]byte(text), fmt.Sprintf("-hcl %d", i+1), "hcl")
	}
	d.finish()
	if len(d.faults) > 0 {
		return nil, d.warnings, errors.Join(d.faults...)
	}
	return &d.Config, d.warnings, nil
}

// draft is a configuration in the making.
type draft struct {
	Config
	// These are kept as they were given until finish resolves them.
	locality       catalog.Locality
	autopilot      catalog.Autopilot
	caProvider     string
	caConfig       map[string]any
	clientAddr     string
	httpAddr       string
	httpPort       int
	dnsAddr        string
	dnsPort        int
	recursors      []string
	serviceTTL     map[string]string
	logLevel       string
	allowWriteFrom []string
	allowedLAN     []string
	allowedWAN     []string

	table    table
	origins  map[string]origin // of the last value of each key, by path
	warned   map[string]bool   // keys that a warning has named
	faults   []error
	warnings []string
}

// origin is where a value came from.
type origin struct {
	file string // or "-flag"
	line int    // 0 where it has none
}

func (o origin) String() string {
	if o.line == 0 {
		return o.file
	}
	return o.file + ":" + strconv.Itoa(o.line)
}

// given says whether anything set a key.
func (d *draft) given(path string) bool {
	_, ok := d.origins[path]
	return ok
}

// faultIn notes what is wrong with a key, and where it was set.
func (d *draft) faultIn(path, format string, args ...any) {
	d.faultAt(d.origins[path], format, args...)
}

func (d *draft) faultAt(at origin, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if at.file != "" {
		err = fmt.Errorf("%s: %w", at, err)
	}
	d.faults = append(d.faults, err)
}

func (d *draft) warn(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

// readInput reads a file, or the files of a directory.
func (d *draft) readInput(in Input) {
	info, err := os.Stat(in.Path)
	switch {
	case err != nil:
		d.faults = append(d.faults, err)
	case !info.IsDir():
		d.readFile(in.Path, in.Format)
	default:
		entries, err := os.ReadDir(in.Path) // sorted by name
		if err != nil {
			d.faults = append(d.faults, err)
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".hcl" || ext == ".json" || in.Format != "") {
				d.readFile(filepath.Join(in.Path, e.Name()), in.Format)
			}
		}
	}
}

func (d *draft) readFile(path, format string) {
	text, err := os.ReadFile(path)
	if err != nil {
		d.faults = append(d.faults, err)
		return
	}
	if format == "" && filepath.Ext(path) == ".json" {
		format = "json"
	}
	d.read(text, path, format)
}

// read takes all that a file says.
func (d *draft) read(text []byte, file, format string) {
	root, err := parse(text, format)
	if err != nil {
		at := origin{file: file}
		if s := (*syntaxError)(nil); errors.As(err, &s) {
			at.line = s.line
		}
		d.faultAt(at, "%w", err)
		return
	}
	d.walk("", root.value.(*object), file)
}

// walk takes the fields of a block. prefix is the block's path and a dot, or "".
func (d *draft) walk(prefix string, o *object, file string) {
	for _, f := range o.fields {
		path := prefix + strings.ToLower(f.key)
		at := origin{file, f.value.line}
		row, isKey := d.table.rows[path]
		switch {
		case !isKey && !d.table.blocks[path]:
			d.faultAt(at, "invalid config key %s%s", path, d.suggest(path))
		case f.value.value == nil: // null is as good as not given
		case isKey:
			d.set(row, f.value, at)
		default:
			blocks, ok := f.value.blocks()
			if !ok {
				d.faultAt(at, "%s must be an object, not %s", path, f.value.kind())
			}
			for _, b := range blocks {
				d.walk(path+".", b, file)
			}
		}
	}
}

// blocks gives the objects that a value is or lists.
func (n *node) blocks() (blocks []*object, ok bool) {
	switch v := n.value.(type) {
	case *object:
		return []*object{v}, true
	case []*node:
		for _, e := range v {
			o, ok := e.value.(*object)
			if !ok {
				return nil, false
			}
			blocks = append(blocks, o)
		}
		return blocks, true
	}
	return nil, false
}

// suggest names the known key that an unknown one was probably meant to be.
func (d *draft) suggest(path string) string {
	best, distance := "", 3
	for _, known := range append(sortedKeys(d.table.rows), sortedKeys(d.table.blocks)...) {
		if n := editDistance(path, known); n < distance && n < len(path)/2 {
			best, distance = known, n
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// editDistance counts the letters to insert, drop or replace to get from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// set takes the value of a known key.
func (d *draft) set(k Key, n *node, at origin) {
	v, err := k.value(n)
	if err == nil {
		d.put(k, v, at)
	} else {
		d.faultAt(at, "%s %w", k.Path, err)
	}
}

// put takes a value of the row's own type.
func (d *draft) put(k Key, v any, at origin) {
	switch {
	case k.Status == Here && k.add != nil:
		k.add(d, k.Path, v.(*node), at.file)
	case k.Status == Here:
		d.origins[k.Path] = at
		if err := k.set(d, v); err != nil {
			d.faultAt(at, "%s %w", k.Path, err)
		}
	case k.Status == Never && !asksNothing(v):
		d.faultAt(at, "%s is not supported: %s; remove it", k.Path, k.Doc)
	case k.Status == Later && !d.warned[k.Path]:
		d.warned[k.Path] = true
		d.warn("%s: %s is accepted but has no effect: %s", at, k.Path, k.Doc)
	}
}

// asksNothing says whether a value leaves things as they are without it.
func asksNothing(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	case *node:
		list, isList := v.value.([]*node)
		o, isObject := v.value.(*object)
		return isList && len(list) == 0 || isObject && len(o.fields) == 0
	}
	return false
}

// setFlag takes the value of a flag.
func (d *draft) setFlag(f FlagValue) {
	at := origin{file: "-" + f.Name}
	i := slices.IndexFunc(Flags(), func(k Key) bool { return k.Flag == f.Name })
	if i < 0 {
		d.faultAt(at, "there is no such flag")
		return
	}
	k := Flags()[i]
	v, err := k.fromText(f.Value)
	if err != nil {
		d.faultAt(at, "%w", err)
		return
	}
	d.put(k, v, at)
}

// Definitions reads only the services and checks of files: what
// `services register` takes. Other keys are checked as Load does, and left.
func Definitions(inputs []Input) (local.Definitions, error) {
	d := newDraft(false)
	for _, input := range inputs {
		d.readInput(input)
	}
	return d.Config.Definitions, errors.Join(d.faults...)
}
