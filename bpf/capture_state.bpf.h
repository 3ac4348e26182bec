/* SPDX-License-Identifier: GPL-2.0-only
 * What the programs of capture.bpf.c know: their settings, and the maps that shunt reads as well.
 */
#pragma once

#include "addresses.bpf.h"
#include "capture.abi.h"
#include "selectors.bpf.h"

#define SOL_IP 0
#define SOL_IPV6 41
#define SO_ORIGINAL_DST 80
#define DNS_PORT 53

#define KEPT_PEERS 4
#define TRIES 8

const volatile struct shunt_capture_config config = {};
struct shunt_host host = {};

/* Of a socket: what it is connected to, and the numbers of the addresses that it was given. */
struct socket_state {
  struct shunt_origin origin;
  struct shunt_client client; /* its key in `connections`, once that is there */
  __u32 connected;            /* number in `connected_peers` + 1; 0: none */
  __u32 tcp;
  __u32 in_connections;
  __u32 next_kept;
  __u32 kept[KEPT_PEERS]; /* numbers in `peers` + 1 */
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct socket_state);
} sockets SEC(".maps");

/* Only connections that the listener has not taken yet: it deletes what it has read. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 20);
  __type(key, struct shunt_client);
  __type(value, struct shunt_origin);
} connections SEC(".maps");

/* One for each connected UDP socket, for as long as that lives. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 20);
  __type(key, __u32);
  __type(value, struct shunt_origin);
} connected_peers SEC(".maps");

/* Those of sockets that send to many; the least recently used go first. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 16);
  __type(key, __u32);
  __type(value, struct shunt_origin);
} peers SEC(".maps");

/* Those of closed sockets, whose datagrams may still be on their way to shunt. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 14);
  __type(key, __u32);
  __type(value, struct shunt_origin);
} closed_peers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 16);
  __type(key, struct shunt_pair);
  __type(value, __u32);
} numbers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 4096);
  __type(key, struct shunt_prefix);
  __type(value, __u32);
} let_go SEC(".maps");

/* Calls that were refused for want of room; read by shunt. */
__u64 refused = 0;
