package agentapi

import (
	"bufio"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Host is what an agent knows of its machine. Its JSON form is the API's.
type Host struct {
	Memory         *HostMemory
	CPU            []HostCPU
	Host           *HostInfo
	Disk           *HostDisk
	CollectionTime int64 // ns since 1970
	Errors         []string
}

// HostMemory is the machine's memory, in bytes.
type HostMemory struct {
	Total       uint64  `json:"total"`
	Available   uint64  `json:"available"`
	Used        uint64  `json:"used"`
	UsedPercent float64 `json:"usedPercent"`
	Free        uint64  `json:"free"`
	Buffers     uint64  `json:"buffers"`
	Cached      uint64  `json:"cached"`
	SwapTotal   uint64  `json:"swapTotal"`
	SwapFree    uint64  `json:"swapFree"`
}

// HostCPU is one processor.
type HostCPU struct {
	CPU       int     `json:"cpu"`
	VendorID  string  `json:"vendorId"`
	Family    string  `json:"family"`
	Model     string  `json:"model"`
	ModelName string  `json:"modelName"`
	MHz       float64 `json:"mhz"`
	Cores     int     `json:"cores"`
}

// HostInfo is the machine and its operating system.
type HostInfo struct {
	Hostname      string `json:"hostname"`
	Uptime        uint64 `json:"uptime"` // seconds
	BootTime      uint64 `json:"bootTime"`
	OS            string `json:"os"`
	Platform      string `json:"platform"`
	KernelVersion string `json:"kernelVersion"`
	KernelArch    string `json:"kernelArch"`
}

// HostDisk is the file system that the agent keeps its data on.
type HostDisk struct {
	Path        string  `json:"path"`
	Total       uint64  `json:"total"`
	Free        uint64  `json:"free"`
	Used        uint64  `json:"used"`
	UsedPercent float64 `json:"usedPercent"`
	InodesTotal uint64  `json:"inodesTotal"`
	InodesFree  uint64  `json:"inodesFree"`
}

// readHost collects what this system tells; what it doesn't is in Errors.
func readHost(dataDir string) Host {
	h := Host{CollectionTime: time.Now().UnixNano()}
	note := func(err error) {
		if err != nil {
			h.Errors = append(h.Errors, err.Error())
		}
	}
	var err error
	h.Memory, err = readMemory()
	note(err)
	h.CPU, err = readCPUs()
	note(err)
	h.Host, err = readInfo()
	note(err)
	if dataDir == "" {
		dataDir = "/"
	}
	h.Disk, err = readDisk(dataDir)
	note(err)
	return h
}

// procLines gives the "name: value" lines of a file below /proc.
func procLines(path string, line func(name, value string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		name, value, _ := strings.Cut(scan.Text(), ":")
		line(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return scan.Err()
}

func readMemory() (*HostMemory, error) {
	m := &HostMemory{}
	fields := map[string]*uint64{
		"MemTotal": &m.Total, "MemAvailable": &m.Available, "MemFree": &m.Free, "Buffers": &m.Buffers,
		"Cached": &m.Cached, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree,
	}
	err := procLines("/proc/meminfo", func(name, value string) {
		if to := fields[name]; to != nil {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(value, " kB"), 10, 64)
			*to = kib << 10
		}
	})
	if err != nil {
		return nil, err
	}
	if m.Total > m.Available {
		m.Used = m.Total - m.Available
		m.UsedPercent = 100 * float64(m.Used) / float64(m.Total)
	}
	return m, nil
}

func readCPUs() ([]HostCPU, error) {
	var all []HostCPU
	err := procLines("/proc/cpuinfo", func(name, value string) {
		if name == "processor" {
			n, _ := strconv.Atoi(value)
			all = append(all, HostCPU{CPU: n, Cores: 1})
		}
		if len(all) == 0 {
			return
		}
		switch cpu := &all[len(all)-1]; name {
		case "vendor_id":
			cpu.VendorID = value
		case "cpu family":
			cpu.Family = value
		case "model":
			cpu.Model = value
		case "model name":
			cpu.ModelName = value
		case "cpu MHz":
			cpu.MHz, _ = strconv.ParseFloat(value, 64)
		}
	})
	return all, err
}

func readInfo() (*HostInfo, error) {
	info := &HostInfo{OS: runtime.GOOS, KernelArch: runtime.GOARCH}
	var err, err2, err3 error
	info.Hostname, err = os.Hostname()
	var text []byte
	if text, err2 = os.ReadFile("/proc/uptime"); err2 == nil {
		seconds, _, _ := strings.Cut(string(text), ".")
		info.Uptime, _ = strconv.ParseUint(seconds, 10, 64)
		info.BootTime = uint64(time.Now().Unix()) - info.Uptime
	}
	if text, err3 = os.ReadFile("/proc/sys/kernel/osrelease"); err3 == nil {
		info.KernelVersion = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(text)) {
			if id, ok := strings.CutPrefix(line, "ID="); ok {
				info.Platform = strings.Trim(strings.TrimSpace(id), `"`)
			}
		}
	}
	return info, errors.Join(err, err2, err3)
}
