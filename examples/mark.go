// SPDX-License-Identifier: GPL-2.0-only

// A Go program that chooses the way of its connection itself. Go needs no header: it is one option
// of the socket, set before it connects (socket(7); include/shunt/mark.h says what may go wrong).
//
//	go build -o mark examples/mark.go
//	./mark mark 0x10 192.0.2.1:80      packets with this mark; ip rule add fwmark 0x10 lookup 200
//	./mark device eth1 192.0.2.1:80    by this interface
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// way returns what net.Dialer calls with each socket before it connects.
func way(what, value string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, socket syscall.RawConn) error {
		var failure error
		set := func(fd uintptr) {
			if what == "device" {
				failure = syscall.BindToDevice(int(fd), value)
				return
			}
			mark, err := strconv.ParseUint(value, 0, 32)
			if err != nil {
				failure = err
				return
			}
			failure = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_MARK, int(int32(mark)))
		}
		if err := socket.Control(set); err != nil {
			return err
		}
		return failure
	}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: mark mark|device VALUE ADDRESS:PORT")
		os.Exit(2)
	}
	dialer := net.Dialer{Control: way(os.Args[1], os.Args[2])}
	connection, err := dialer.Dial("tcp", os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	connection.Close()
	fmt.Println("connected")
}
