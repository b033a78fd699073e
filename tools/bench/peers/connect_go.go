// SPDX-License-Identifier: MIT

// A connect storm on Go's net package: one goroutine for each connect in flight.
//
//	GOMAXPROCS=1 connect_go PORT TOTAL CONCURRENCY
package main

import (
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

func number(index int) int64 {
	value, err := strconv.ParseInt(os.Args[index], 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(number(1))}
	left := number(2)
	var group sync.WaitGroup
	for i := int64(0); i < number(3); i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				connection, err := net.DialTCP("tcp4", nil, address)
				if err != nil {
					panic(err)
				}
				connection.SetLinger(0)
				connection.Close()
			}
		}()
	}
	group.Wait()
}
