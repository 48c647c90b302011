// Command crosscheck lets the reference implementations of signed notes and of the hash tree judge a hazlink log.
//
// It reads one JSON object a line and answers each with one line. What it links against is what the Go project wrote
// for its own public log: packages sumdb/note and sumdb/tlog of golang.org/x/mod. Nothing here was made from hazlink's
// code; the entries bundle and the cosignature, which those packages do not have, follow the C2SP texts.
//
// Bytes travel as standard base64, key ids as hex. A refusal is {"error": "..."}.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight    = 8
	cosignerType  = 4
	maxLineBytes  = 1 << 28
	timeBytes     = 8
	keyIDBytes    = 4
	lengthBytes   = 2
	notABundle    = "an entries bundle ends in the middle of an entry"
	notCosigned   = "the cosignature does not hold"
	nothingStored = "tile was not handed over: "
)

// claim is an inclusion or consistency proof, and what it is to show.
//
// For inclusion Place is the index and Hash the leaf's; for consistency Place is the older size and Hash its root.
type claim struct {
	Size  int64       `json:"size"`
	Root  tlog.Hash   `json:"root"`
	Place int64       `json:"place"`
	Hash  tlog.Hash   `json:"hash"`
	Proof []tlog.Hash `json:"proof"`
}

// tile is a tile of the tree with its name and content.
type tile struct {
	Level  int    `json:"level"`
	Number int64  `json:"number"`
	Width  int    `json:"width"`
	Path   string `json:"path,omitempty"`
	Data   []byte `json:"data,omitempty"`
}

type request struct {
	Do      string            `json:"do"`
	Name    string            `json:"name"`
	Seed    []byte            `json:"seed"`
	Public  []byte            `json:"public"`
	VKey    string            `json:"vkey"`
	VKeys   []string          `json:"vkeys"`
	Signers []string          `json:"signers"`
	Note    []byte            `json:"note"`
	Text    string            `json:"text"`
	Raw     []byte            `json:"raw"`
	Time    uint64            `json:"time"`
	Leaves  [][]byte          `json:"leaves"`
	Sizes   []int64           `json:"sizes"`
	Pairs   [][2]int64        `json:"pairs"`
	Claims  []claim           `json:"claims"`
	Old     int64             `json:"old"`
	Size    int64             `json:"size"`
	Root    tlog.Hash         `json:"root"`
	Tile    tile              `json:"tile"`
	Path    string            `json:"path"`
	Tiles   map[string][]byte `json:"tiles"`
	Places  []int64           `json:"places"`
	Bundles [][]byte          `json:"bundles"`
}

type answer struct {
	Error     string        `json:"error,omitempty"`
	Signer    string        `json:"signer,omitempty"`
	VKey      string        `json:"vkey,omitempty"`
	Name      string        `json:"name,omitempty"`
	KeyID     string        `json:"key_id,omitempty"`
	Note      []byte        `json:"note,omitempty"`
	Text      string        `json:"text,omitempty"`
	Verified  []string      `json:"verified,omitempty"`
	Strangers []string      `json:"strangers,omitempty"`
	Raw       []byte        `json:"raw,omitempty"`
	Time      uint64        `json:"time,omitempty"`
	Size      int64         `json:"size"`
	Root      *tlog.Hash    `json:"root,omitempty"`
	Hashes    []tlog.Hash   `json:"hashes,omitempty"`
	Proofs    [][]tlog.Hash `json:"proofs,omitempty"`
	Held      []bool        `json:"held,omitempty"`
	Tile      *tile         `json:"tile,omitempty"`
	Tiles     []tile        `json:"tiles,omitempty"`
	Leaves    [][]byte      `json:"leaves,omitempty"`
}

// store keeps every complete subtree of the tree that was grown last, in the order tlog numbers them.
type store struct {
	size   int64
	hashes []tlog.Hash
}

func (s *store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		if index < 0 || index >= int64(len(s.hashes)) {
			return nil, fmt.Errorf("hash %d is not stored", index)
		}
		found = append(found, s.hashes[index])
	}
	return found, nil
}

func (s *store) grow(leaves [][]byte) error {
	for _, leaf := range leaves {
		more, err := tlog.StoredHashes(s.size, leaf, s)
		if err != nil {
			return err
		}
		s.hashes = append(s.hashes, more...)
		s.size++
	}
	return nil
}

// handed are tiles that somebody else made; tlog itself finds out whether they are those of the tree.
type handed map[string][]byte

func (h handed) Height() int                         { return tileHeight }
func (h handed) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (h handed) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, 0, len(wanted))
	for _, one := range wanted {
		data, there := h[one.Path()]
		if !there {
			return nil, errors.New(nothingStored + one.Path())
		}
		found = append(found, data)
	}
	return found, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLineBytes)
	out := bufio.NewWriter(os.Stdout)
	tree := &store{}
	for lines.Scan() {
		var asked request
		var told answer
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			told.Error = err.Error()
		} else {
			told = guarded(tree, &asked)
		}
		line, err := json.Marshal(told)
		if err != nil {
			line = []byte(`{"error":"the answer could not be written as JSON"}`)
		}
		out.Write(append(line, '\n'))
		out.Flush()
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func guarded(tree *store, asked *request) (told answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			told = answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	made, err := do(tree, asked)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return made
}

func do(tree *store, asked *request) (answer, error) {
	switch asked.Do {
	case "make_key":
		signer, vkey, err := note.GenerateKey(bytes.NewReader(asked.Seed), asked.Name)
		return answer{Signer: signer, VKey: vkey}, err
	case "write_vkey":
		vkey, err := note.NewEd25519VerifierKey(asked.Name, ed25519.PublicKey(asked.Public))
		return answer{VKey: vkey}, err
	case "read_vkey":
		return readVKey(asked.VKey)
	case "open_note":
		return openNote(asked.Note, asked.VKeys)
	case "sign_note":
		return signNote(asked.Text, asked.Signers)
	case "check_cosignature":
		return checkCosignature(asked)
	case "cosign":
		return cosign(asked)
	case "grow":
		*tree = store{}
		err := tree.grow(asked.Leaves)
		return answer{Size: tree.size}, err
	case "roots":
		return roots(tree, asked.Sizes)
	case "prove_leaves":
		return proofs(asked.Pairs, func(size, place int64) ([]tlog.Hash, error) {
			return tlog.ProveRecord(size, place, tree)
		})
	case "prove_trees":
		return proofs(asked.Pairs, func(size, place int64) ([]tlog.Hash, error) {
			return tlog.ProveTree(size, place, tree)
		})
	case "check_leaves":
		return checked(asked.Claims, func(c claim) error {
			return tlog.CheckRecord(c.Proof, c.Size, c.Root, c.Place, c.Hash)
		})
	case "check_trees":
		return checked(asked.Claims, func(c claim) error {
			return tlog.CheckTree(c.Proof, c.Size, c.Root, c.Place, c.Hash)
		})
	case "write_tree":
		return answer{Text: string(tlog.FormatTree(tlog.Tree{N: asked.Size, Hash: asked.Root}))}, nil
	case "read_tree":
		read, err := tlog.ParseTree([]byte(asked.Text))
		return answer{Size: read.N, Root: &read.Hash}, err
	case "tiles":
		return tilesBetween(tree, asked.Old, asked.Size)
	case "write_path":
		one := tlog.Tile{H: tileHeight, L: asked.Tile.Level, N: asked.Tile.Number, W: asked.Tile.Width}
		return answer{Tile: &tile{Path: one.Path()}}, nil
	case "read_path":
		one, err := tlog.ParseTilePath(asked.Path)
		return answer{Tile: &tile{Level: one.L, Number: one.N, Width: one.W, Path: one.Path()}}, err
	case "follow":
		return follow(asked)
	case "read_entries":
		return readEntries(tree, asked.Bundles)
	}
	return answer{}, fmt.Errorf("unknown request %q", asked.Do)
}

func readVKey(vkey string) (answer, error) {
	read, err := note.NewVerifier(vkey)
	if err != nil {
		return answer{}, err
	}
	return answer{Name: read.Name(), KeyID: fmt.Sprintf("%08x", read.KeyHash())}, nil
}

func openNote(raw []byte, vkeys []string) (answer, error) {
	var known []note.Verifier
	for _, vkey := range vkeys {
		read, err := note.NewVerifier(vkey)
		if err != nil {
			return answer{}, err
		}
		known = append(known, read)
	}
	opened, err := note.Open(raw, note.VerifierList(known...))
	if err != nil {
		return answer{}, err
	}
	told := answer{Text: opened.Text}
	for _, signature := range opened.Sigs {
		told.Verified = append(told.Verified, signature.Name)
	}
	for _, signature := range opened.UnverifiedSigs {
		told.Strangers = append(told.Strangers, signature.Name)
	}
	return told, nil
}

func signNote(text string, keys []string) (answer, error) {
	var signers []note.Signer
	for _, key := range keys {
		signer, err := note.NewSigner(key)
		if err != nil {
			return answer{}, err
		}
		signers = append(signers, signer)
	}
	made, err := note.Sign(&note.Note{Text: text}, signers...)
	return answer{Note: made}, err
}

// cosigned is the message of cosignature/v1: a heading, the time, and the whole text of the note.
func cosigned(text string, at uint64) []byte {
	return []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text))
}

func cosignerID(name string, public []byte) []byte {
	sum := sha256.Sum256(append([]byte(name+"\n"), append([]byte{cosignerType}, public...)...))
	return sum[:keyIDBytes]
}

func checkCosignature(asked *request) (answer, error) {
	if len(asked.Raw) != keyIDBytes+timeBytes+ed25519.SignatureSize {
		return answer{}, errors.New(notCosigned)
	}
	if !bytes.Equal(asked.Raw[:keyIDBytes], cosignerID(asked.Name, asked.Public)) {
		return answer{}, errors.New(notCosigned)
	}
	at := binary.BigEndian.Uint64(asked.Raw[keyIDBytes:])
	if !ed25519.Verify(asked.Public, cosigned(asked.Text, at), asked.Raw[keyIDBytes+timeBytes:]) {
		return answer{}, errors.New(notCosigned)
	}
	return answer{Time: at}, nil
}

func cosign(asked *request) (answer, error) {
	key := ed25519.NewKeyFromSeed(asked.Seed)
	public := key.Public().(ed25519.PublicKey)
	id := cosignerID(asked.Name, public)
	raw := binary.BigEndian.AppendUint64(append([]byte{}, id...), asked.Time)
	raw = append(raw, ed25519.Sign(key, cosigned(asked.Text, asked.Time))...)
	typed := append([]byte{cosignerType}, public...)
	vkey := asked.Name + "+" + hex.EncodeToString(id) + "+" + base64.StdEncoding.EncodeToString(typed)
	return answer{Raw: raw, VKey: vkey}, nil
}

func roots(tree *store, sizes []int64) (answer, error) {
	var told answer
	for _, size := range sizes {
		found, err := tlog.TreeHash(size, tree)
		if err != nil {
			return answer{}, err
		}
		told.Hashes = append(told.Hashes, found)
	}
	return told, nil
}

func proofs(pairs [][2]int64, prove func(size, place int64) ([]tlog.Hash, error)) (answer, error) {
	var told answer
	for _, pair := range pairs {
		made, err := prove(pair[0], pair[1])
		if err != nil {
			return answer{}, err
		}
		if made == nil {
			made = []tlog.Hash{}
		}
		told.Proofs = append(told.Proofs, made)
	}
	return told, nil
}

func checked(claims []claim, check func(claim) error) (answer, error) {
	var told answer
	for _, one := range claims {
		told.Held = append(told.Held, check(one) == nil)
	}
	return told, nil
}

func tilesBetween(tree *store, old, size int64) (answer, error) {
	var told answer
	for _, one := range tlog.NewTiles(tileHeight, old, size) {
		data, err := tlog.ReadTileData(one, tree)
		if err != nil {
			return answer{}, err
		}
		told.Tiles = append(told.Tiles, tile{one.L, one.N, one.W, one.Path(), data})
	}
	return told, nil
}

// follow proves leaves and older trees out of tiles alone, as a client of somebody else's log does: tlog holds each
// tile against the root before it uses a hash of it.
func follow(asked *request) (answer, error) {
	reader := tlog.TileHashReader(tlog.Tree{N: asked.Size, Hash: asked.Root}, handed(asked.Tiles))
	var told answer
	for _, place := range asked.Places {
		indexes := []int64{tlog.StoredHashIndex(0, place)}
		found, err := reader.ReadHashes(indexes)
		if err != nil {
			return answer{}, err
		}
		proof, err := tlog.ProveRecord(asked.Size, place, reader)
		if err != nil {
			return answer{}, err
		}
		if err := tlog.CheckRecord(proof, asked.Size, asked.Root, place, found[0]); err != nil {
			return answer{}, err
		}
		told.Hashes = append(told.Hashes, found[0])
		told.Proofs = append(told.Proofs, proof)
	}
	for _, size := range asked.Sizes {
		old, err := tlog.TreeHash(size, reader)
		if err != nil {
			return answer{}, err
		}
		proof, err := tlog.ProveTree(asked.Size, size, reader)
		if err != nil {
			return answer{}, err
		}
		if err := tlog.CheckTree(proof, asked.Size, asked.Root, size, old); err != nil {
			return answer{}, err
		}
		told.Hashes = append(told.Hashes, old)
		told.Proofs = append(told.Proofs, proof)
	}
	return told, nil
}

// readEntries cuts entries bundles into leaves and grows a tree of them.
func readEntries(tree *store, bundles [][]byte) (answer, error) {
	var leaves [][]byte
	for _, rest := range bundles {
		for len(rest) > 0 {
			if len(rest) < lengthBytes {
				return answer{}, errors.New(notABundle)
			}
			end := lengthBytes + int(binary.BigEndian.Uint16(rest))
			if len(rest) < end {
				return answer{}, errors.New(notABundle)
			}
			leaves = append(leaves, rest[lengthBytes:end])
			rest = rest[end:]
		}
	}
	*tree = store{}
	if err := tree.grow(leaves); err != nil {
		return answer{}, err
	}
	root, err := tlog.TreeHash(tree.size, tree)
	return answer{Leaves: leaves, Size: tree.size, Root: &root}, err
}
