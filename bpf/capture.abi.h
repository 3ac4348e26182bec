/* SPDX-License-Identifier: GPL-2.0-only
 * What bpf/capture.bpf.c and src/kernel/cgroup_capture.cc share. Addresses are 16 bytes in network
 * order, IPv4 as ::ffff:a.b.c.d; ports are in host order.
 *
 *   a program connects                           what the kernel sees       the map
 *   192.0.2.1:40000 -> 203.0.113.9:80  (TCP)     192.0.2.1:40000 ->
 *                                                127.0.0.1:PORT             connections, by client
 *   192.0.2.1:40000 -> 203.0.113.9:53  (UDP)     192.0.2.1:40000 ->
 *                                                127.64.0.7:PORT            peers, by the number 7
 */
#ifndef SHUNT_BPF_CAPTURE_ABI_H
#define SHUNT_BPF_CAPTURE_ABI_H

#define SHUNT_COMM_BYTES 16

/* Datagrams go to one of these addresses: 127.64.0.0 plus a number, or a prefix of 96 bits and the
 * number. */
#define SHUNT_PEERS_V4 0x7f400000u
#define SHUNT_PEERS_V4_MASK 0xffc00000u
#define SHUNT_PEER_NUMBERS 0x400000u

/* Where the socket's program meant to go, and who it was: the thread that called. */
struct shunt_origin {
  unsigned char address[16];
  unsigned short port;
  unsigned short unused;
  unsigned int tgid;
  unsigned int tid;
  unsigned int uid;
  unsigned int gid;
  unsigned int unused_too;
  unsigned long long cgroup;
  unsigned long long socket; /* its cookie */
  char comm[SHUNT_COMM_BYTES];
};

/* The client of a TCP connection: with the listener's address, which is always the same for a
 * family, that is all of a connection's ends. Two sources with one port are two keys. */
struct shunt_client {
  unsigned char address[16];
  unsigned short port;
  unsigned short unused[3];
};

/* A destination of one UDP socket. */
struct shunt_pair {
  unsigned long long socket;
  unsigned char address[16];
  unsigned short port;
  unsigned short unused[3];
};

/* A range of destinations that is not captured, longest prefix first. */
struct shunt_prefix {
  unsigned int bits; /* of the 128 of `address` */
  unsigned char address[16];
};
#define SHUNT_LET_GO 1
#define SHUNT_ONLY_DNS 2 /* all but port 53 is let go */

/* Which of the callers are captured; `selectors` has them by kind and value. */
#define SHUNT_SELECT_ALL 0
#define SHUNT_SELECT_LISTED 1
#define SHUNT_SELECT_ALL_BUT 2 /* those that are listed as left alone */
#define SHUNT_BY_TGID 1
#define SHUNT_BY_UID 2
#define SHUNT_BY_GID 3
#define SHUNT_BY_CGROUP 4
#define SHUNT_BY_NAMED 5   /* a process, by its number: it has a watched name */
#define SHUNT_BY_CLASSID 6 /* the class of its cgroup in net_cls */
struct shunt_selector {
  unsigned int kind;
  unsigned int unused;
  unsigned long long value;
};
#define SHUNT_TAKE 1
#define SHUNT_LEAVE 2
struct shunt_selection {
  unsigned int mode;           /* SHUNT_SELECT_… */
  unsigned int most_ancestors; /* levels of cgroups that SHUNT_BY_CGROUP looks at */
  unsigned int by_classid;     /* 0: SHUNT_BY_CLASSID is not looked at */
  unsigned int unused;
};

/* What this machine can reach, and from where; changes while the programs run. */
struct shunt_host {
  unsigned int reaches_v4;
  unsigned int reaches_v6;
  unsigned char source_v4[16];
  unsigned char source_v6[16];
};

struct shunt_capture_config {
  unsigned long long netns;      /* cookie: traffic of other namespaces is left alone */
  unsigned long long own_cgroup; /* 0: none */
  unsigned int own_tgid;         /* 0: none */
  unsigned int own_mark;         /* 0: none */
  unsigned int own_mark_mask;
  unsigned int port;           /* of the listeners */
  unsigned int peers_v6_valid; /* 0: IPv6 datagrams are refused */
  unsigned int peers_v6[3];    /* in network order */
  struct shunt_selection selection;
};

#endif
