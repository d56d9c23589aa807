package gossip

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/memberlist"
)

// decodeKey decodes a key as operators write it. Its errors never show it.
func decodeKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("key is not valid base64")
	}
	if err := memberlist.ValidateKey(key); err != nil {
		return nil, fmt.Errorf("key has %d bytes: it must be the base64 of 16, 24 or 32 bytes (`muster keygen` makes one)", len(key))
	}
	return key, nil
}

// openKeyring returns the keys to encrypt with, the first one sending, or nil
// for plain text. It makes the keyring file where there is a key but no file.
// ignored says that the file exists and lacks the configured key.
func openKeyring(c Config) (ring *memberlist.Keyring, ignored bool, err error) {
	if c.KeyringFile != "" {
		keys, err := readKeyring(c.KeyringFile)
		if err == nil {
			ignored = c.EncryptKey != "" && !slices.Contains(keys, c.EncryptKey)
			ring, err = newKeyring(keys)
			return ring, ignored, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
	}
	if c.EncryptKey == "" {
		return nil, false, nil
	}
	keys := []string{c.EncryptKey}
	if ring, err = newKeyring(keys); err != nil {
		return nil, false, err
	}
	if c.KeyringFile != "" {
		err = writeKeyring(c.KeyringFile, keys)
	}
	return ring, false, err
}

func newKeyring(texts []string) (*memberlist.Keyring, error) {
	var keys [][]byte
	for i, text := range texts {
		key, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("keyring: %d. key: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	return memberlist.NewKeyring(keys, keys[0])
}

// readKeyring reads a JSON list of base64 keys, the format that serf writes.
func readKeyring(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	var keys []string
	if json.Unmarshal(data, &keys) != nil || len(keys) == 0 { // the cause would quote the file
		return nil, fmt.Errorf("keyring %s is damaged: it must be a JSON list of at least one base64 key", path)
	}
	return keys, nil
}

// writeKeyring writes the file beside, syncs it, and renames it into place.
func writeKeyring(path string, keys []string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write keyring: %w", err)
		}
	}()
	data, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once renamed
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
