package sessionapi

import (
	"errors"
	"time"

	"muster/api"
)

// lockDelay is a duration that JSON gives as text such as "15s", as a number of
// nanoseconds, or as one of seconds where it is small: Consul takes what is below
// a thousand for seconds.
type lockDelay api.Duration

const smallNumber = 1000

// UnmarshalJSON implements json.Unmarshaler.
func (d *lockDelay) UnmarshalJSON(data []byte) error {
	if string(data) == `""` { // which elsewhere is a duration of 0
		return errors.New(`time: invalid duration ""`)
	}
	if err := (*api.Duration)(d).UnmarshalJSON(data); err != nil {
		return err
	}
	if data[0] != '"' && -smallNumber < *d && *d < smallNumber {
		*d *= lockDelay(time.Second)
	}
	return nil
}

// SchemaSample implements api.Schemed.
func (lockDelay) SchemaSample() any { return api.OneOf{"15s", 0} }

func (d lockDelay) duration() time.Duration { return time.Duration(d) }
