// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Command box is the only program in the images that tests build.
//
//	box write FILE TEXT   make a file
//	box cat FILE          print one
//	box fail LINES        print so many lines, exit 3
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	var err error
	switch os.Args[1] {
	case "write":
		err = os.WriteFile(os.Args[2], []byte(os.Args[3]), 0o644)
	case "cat":
		var content []byte
		content, err = os.ReadFile(os.Args[2])
		fmt.Printf("%s\n", content)
	case "fail":
		var lines int
		lines, err = strconv.Atoi(os.Args[2])
		for i := range lines {
			fmt.Println("line", i+1)
		}
		if err == nil {
			os.Exit(3)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
