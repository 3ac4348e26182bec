// SPDX-License-Identifier: GPL-2.0-only
// What libshunt-preload.so and shunt say to each other (docs/run_preload.md). Both are of one
// build; the version guards against a library that was left behind.
//
// The library is told by its environment where shunt is:
//
//   SHUNT_PRELOAD=VERSION:NAME:TOKEN:PORT
//     NAME   of an abstract Unix socket (SOCK_SEQPACKET)
//     TOKEN  32 hexadecimal digits, which each request repeats: any process may connect to NAME
//     PORT   where shunt takes datagrams for 127.64.0.0/10, in decimal
//
// Each request is a connection of its own: one record there, with a copy of the socket that it is
// about (SCM_RIGHTS), and one back. A connect() that waits gets two: one when shunt has begun, and
// one when it is over; when the program closes the connection before, it waits no more.
//
// Two more variables make the library do something else, with SHUNT_PRELOAD or without:
//
//   SHUNT_PRELOAD_MARK=NUMBER    SO_MARK of each IPv4 and IPv6 socket that the program makes
//   SHUNT_PRELOAD_DEVICE=NAME    SO_BINDTODEVICE of the same
//
// Where that cannot be set socket() fails, with its errno.
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#define SHUNT_PRELOAD_LIBRARY "libshunt-preload.so"
#define SHUNT_PRELOAD_VARIABLE "SHUNT_PRELOAD"
#define SHUNT_PRELOAD_MARK_VARIABLE "SHUNT_PRELOAD_MARK"
#define SHUNT_PRELOAD_DEVICE_VARIABLE "SHUNT_PRELOAD_DEVICE"

enum {
  SHUNT_PRELOAD_VERSION = 1,
  SHUNT_PRELOAD_TOKEN_BYTES = 16,
  SHUNT_PRELOAD_MOST_NAME = 64,
};

enum shunt_preload_kind {
  SHUNT_PRELOAD_HELLO = 1,    ///< a program has loaded the library; no answer
  SHUNT_PRELOAD_CONNECT,      ///< connect(socket, address)
  SHUNT_PRELOAD_DESTINATION,  ///< where to send what is meant for `address` from `socket`
  SHUNT_PRELOAD_MEANT,        ///< what an address of 127.64.0.0/10 stands for
  SHUNT_PRELOAD_PEER,         ///< getpeername(socket)
  SHUNT_PRELOAD_FAILURE,      ///< SO_ERROR of `socket`
  SHUNT_PRELOAD_LOOKUP,       ///< where to reach a name server; the process will ask it now
  SHUNT_PRELOAD_LAST_KIND = SHUNT_PRELOAD_LOOKUP,
};

struct shunt_preload_request {
  uint32_t version;
  uint32_t kind;
  uint8_t token[SHUNT_PRELOAD_TOKEN_BYTES];
  uint32_t address_size;  ///< bytes of `address`, as the program gave them; may be 0
  uint32_t zero;
  struct sockaddr_storage address;
};

enum shunt_preload_verdict {
  SHUNT_PRELOAD_DONE = 0,   ///< `error` is the result; `address` where one was asked for
  SHUNT_PRELOAD_RUN = 1,    ///< the call is to be made as the program made it
  SHUNT_PRELOAD_BEGUN = 2,  ///< the socket is connecting; another answer follows
};

struct shunt_preload_answer {
  uint32_t verdict;
  int32_t error;  ///< an errno, or 0
  uint32_t address_size;
  uint32_t captured;  ///< DESTINATION: `address` stands for the destination
  struct sockaddr_storage address;
};
