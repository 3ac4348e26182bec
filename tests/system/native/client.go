// SPDX-License-Identifier: GPL-2.0-only

// A static Go program: its runtime makes system calls without libc, connects without blocking and
// from many threads. Each of N connections sends a pattern to an echo server, ends its direction,
// and must get every byte and then the end back, from the address that was asked for.
//
//	client ADDRESS:PORT N BYTES
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

func talk(address string, pattern []byte) error {
	connection, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	if connection.RemoteAddr().String() != address {
		return fmt.Errorf("the peer is %v", connection.RemoteAddr())
	}
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		connection.Write(pattern)
		connection.(*net.TCPConn).CloseWrite()
	}()
	answer, err := io.ReadAll(connection)
	if err == nil && !bytes.Equal(answer, pattern) {
		err = fmt.Errorf("got %d bytes that are not those sent", len(answer))
	}
	return err
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	size, _ := strconv.Atoi(os.Args[3])
	pattern := make([]byte, size)
	for i := range pattern {
		pattern[i] = byte(i * 7 >> 3)
	}
	results := make(chan error, count)
	for i := 0; i < count; i++ {
		go func() { results <- talk(os.Args[1], pattern) }()
	}
	for i := 0; i < count; i++ {
		if err := <-results; err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	fmt.Println("ok")
}
