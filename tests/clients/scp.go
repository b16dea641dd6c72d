// Go: github.com/tmc/scp, which writes everything at once and waits for the exit status ("tmc"), and a client that
// behaves as bramvdbogaerde/go-scp does: the header before the ready byte, the contents before the answer ("eager").
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tmc/scp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func main() {
	style, verb, operands := os.Args[1], os.Args[2], os.Args[3:]
	if verb == "version" {
		fmt.Println(runtime.Version())
		return
	}
	if operands[0] == "-p" {
		operands = operands[1:]
	}
	client, err := connect()
	check(err)
	defer client.Close()
	sources, target := operands[:len(operands)-1], operands[len(operands)-1]
	for _, source := range sources {
		place := target
		if len(sources) > 1 {
			place = target + "/" + filepath.Base(source)
		}
		session, err := client.NewSession()
		check(err)
		switch {
		case verb == "put" && style == "tmc":
			check(scp.CopyPath(source, place, session))
		case verb == "put":
			check(putEagerly(session, source, place))
		default:
			check(get(session, source, place))
		}
		session.Close()
	}
}

func connect() (*ssh.Client, error) {
	key, err := os.ReadFile(os.Getenv("SCP_KEY"))
	check(err)
	signer, err := ssh.ParsePrivateKey(key)
	check(err)
	known, err := knownhosts.New(os.Getenv("SCP_KNOWN_HOSTS"))
	check(err)
	return ssh.Dial("tcp", os.Getenv("SCP_HOST")+":"+os.Getenv("SCP_PORT"), &ssh.ClientConfig{
		User:              os.Getenv("SCP_USER"),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   known,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
}

func putEagerly(session *ssh.Session, source, place string) error {
	file, err := os.Open(source)
	check(err)
	defer file.Close()
	about, err := file.Stat()
	check(err)
	in, err := session.StdinPipe()
	check(err)
	out, err := session.StdoutPipe()
	check(err)
	check(session.Start(fmt.Sprintf("scp -qt %q", place)))
	refused := make(chan error, 1)
	go func() {
		replies := bufio.NewReader(out)
		refused <- firstError(hear(replies), hear(replies))
	}()
	fmt.Fprintf(in, "C%04o %d %s\n", about.Mode().Perm(), about.Size(), filepath.Base(source))
	io.Copy(in, file)
	fmt.Fprint(in, "\x00")
	in.Close()
	// The last acknowledgement is never read.
	return firstError(<-refused, session.Wait())
}

func get(session *ssh.Session, source, place string) error {
	in, err := session.StdinPipe()
	check(err)
	out, err := session.StdoutPipe()
	check(err)
	check(session.Start(fmt.Sprintf("scp -f %q", source)))
	fmt.Fprint(in, "\x00")
	records := bufio.NewReader(out)
	line, err := records.ReadString('\n')
	if err != nil {
		return err
	}
	words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
	if line[0] != 'C' || len(words) != 3 {
		return errors.New(line[1:])
	}
	var size int64
	fmt.Sscan(words[1], &size)
	fmt.Fprint(in, "\x00")
	file, err := os.Create(place)
	check(err)
	defer file.Close()
	if _, err := io.CopyN(file, records, size); err != nil {
		return err
	}
	fmt.Fprint(in, "\x00")
	// Its own side stays open: the server has to go by itself.
	return session.Wait()
}

func hear(replies *bufio.Reader) error {
	reply, err := replies.ReadByte()
	if err != nil || reply == 0 {
		return err
	}
	text, _ := replies.ReadString('\n')
	return errors.New(text)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
