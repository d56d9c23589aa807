package catalog

// MaxOutcome bounds what is kept of a command's result, in bytes.
const MaxOutcome = 256 << 10

// Once carries out another command, and keeps its result with the key that the
// caller has given to its request. The same request under the same key is answered
// by that result and changes nothing, whichever server leads by then; another
// request is refused with Reused. What is kept stays until a ForgetOutcomes; where
// there is no room for more the command is not carried out (TooMany), as forgetting
// would have a retry of something else take effect twice.
type Once struct {
	Caller string // whose key it is: keys of different callers never meet
	Key    string // the caller's own
	Hash   []byte // of the request
	Inner  []byte // the command, as EncodeCommand made it; neither a Once, a Batch nor a Restore

	// Edited says that the command was made of what the catalog said, and that its
	// caller is answered with Answer, which is JSON, or nothing if it is empty. Where
	// its result is false it had no effect and is made anew: that is not kept.
	Edited bool   `codec:",omitempty"`
	Answer []byte `codec:",omitempty"`
}

// Op implements Command.
func (*Once) Op() Op { return OpOnce }

// ForgetOutcomes forgets the results that were kept up to an index, the oldest
// first, at most some thousand at a time. Its result's Value is a bool: whether
// there are more.
type ForgetOutcomes struct {
	Through uint64
}

// Op implements Command.
func (*ForgetOutcomes) Op() Op { return OpForgetOutcomes }

// outcome is a Result as it is kept. Numbers of forms are part of the format.
type outcome struct {
	Form    outcomeForm
	Kind    Kind       `codec:",omitempty"`
	Text    string     `codec:",omitempty"`
	True    bool       `codec:",omitempty"`
	Session *Session   `codec:",omitempty"`
	Txn     *TxnResult `codec:",omitempty"`
}

type outcomeForm uint8

const (
	outcomeNothing outcomeForm = 1
	outcomeError   outcomeForm = 2 // Kind, Text
	outcomeBool    outcomeForm = 3 // True
	outcomeText    outcomeForm = 4 // Text
	outcomeSession outcomeForm = 5
	outcomeTxn     outcomeForm = 6
)

// EncodeOutcome gives the bytes of a result, of at most MaxOutcome.
func EncodeOutcome(r Result) ([]byte, error) {
	var o outcome
	switch v := r.Value.(type) {
	case nil:
		o.Form = outcomeNothing
	case bool:
		o.Form, o.True = outcomeBool, v
	case string:
		o.Form, o.Text = outcomeText, v
	case *Session:
		o.Form, o.Session = outcomeSession, v
	case *TxnResult:
		o.Form, o.Txn = outcomeTxn, v
	default:
		return nil, Errorf(Invalid, "a command that answers %T can't be carried out under an idempotency key", v)
	}
	if r.Err != nil {
		o = outcome{Form: outcomeError, Kind: KindOf(r.Err), Text: r.Err.Error()}
	}
	b, err := Marshal(o)
	if err == nil {
		err = checkMsgpack(b)
	}
	switch {
	case err != nil:
		return nil, Errorf(Invalid, "keep the answer to a request with an idempotency key: %v", err)
	case len(b) > MaxOutcome:
		return nil, Errorf(TooLarge, "the answer takes %d bytes; at most %d are allowed for a request with an idempotency key: nothing was done, ask for less in it", len(b), MaxOutcome)
	}
	return b, nil
}

// DecodeOutcome reads what EncodeOutcome wrote. Nothing changes by it.
func DecodeOutcome(b []byte) (Result, error) {
	var o outcome
	if err := Unmarshal(b, &o); err != nil {
		return Result{}, err
	}
	switch {
	case o.Form == outcomeNothing:
		return Result{}, nil
	case o.Form == outcomeError:
		return Result{Err: &Error{Kind: o.Kind, Text: o.Text}}, nil
	case o.Form == outcomeBool:
		return Result{Value: o.True}, nil
	case o.Form == outcomeText:
		return Result{Value: o.Text}, nil
	case o.Form == outcomeSession && o.Session != nil:
		return Result{Value: o.Session}, nil
	case o.Form == outcomeTxn && o.Txn != nil:
		return Result{Value: o.Txn}, nil
	}
	return Result{}, Errorf(Invalid, "a kept result has the unknown form %d, or is incomplete", o.Form)
}
