// Gocheck reads what the audit log hands out with golang.org/x/mod/sumdb alone: verifier keys, signed
// checkpoints and .tlog-proof files. It shares no code and no author with the log.
//
//	gocheck checkpoint VKEY FILE
//	gocheck proof VKEY PROOF DATA     DATA: the entry's bytes, in hex
//	gocheck growth VKEY OLD NEW PROOF PROOF: consistency proof, one base64 hash per line
package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(5)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: checkpoint | proof | growth")
	}
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	switch {
	case args[0] == "checkpoint" && len(args) == 3:
		tree, err := checkpoint(verifier, text)
		if err != nil {
			return err
		}
		fmt.Println(tree.N, tree.Hash)
		return nil
	case args[0] == "proof" && len(args) == 4:
		return proof(verifier, string(text), args[3])
	case args[0] == "growth" && len(args) == 5:
		return growth(verifier, text, args[3], args[4])
	}
	return fmt.Errorf("usage: checkpoint | proof | growth")
}

// checkpoint opens a signed note and reads origin, size and root out of it.
func checkpoint(verifier note.Verifier, text []byte) (tlog.Tree, error) {
	var tree tlog.Tree
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func hashes(lines []string) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, line := range lines {
		data, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(data) != tlog.HashSize {
			return nil, fmt.Errorf("not a hash")
		}
		found = append(found, tlog.Hash(data))
	}
	return found, nil
}

// proof checks that the entry's data is recorded under the checkpoint inside a .tlog-proof.
func proof(verifier note.Verifier, text, dataHex string) error {
	head, signed, ok := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	path, err := hashes(lines[2:])
	if err != nil {
		return err
	}
	data, err := hex.DecodeString(dataHex)
	if err != nil {
		return err
	}
	tree, err := checkpoint(verifier, []byte(signed))
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(data)); err != nil {
		return err
	}
	fmt.Println("entry", index, "of", tree.N)
	return nil
}

// growth checks that the newer checkpoint's log begins with the older one's.
func growth(verifier note.Verifier, text []byte, newer, proofFile string) error {
	old, err := checkpoint(verifier, text)
	if err != nil {
		return err
	}
	text, err = os.ReadFile(newer)
	if err != nil {
		return err
	}
	tree, err := checkpoint(verifier, text)
	if err != nil {
		return err
	}
	text, err = os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	path, err := hashes(strings.Fields(string(text)))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(path, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	fmt.Println("from", old.N, "to", tree.N)
	return nil
}
