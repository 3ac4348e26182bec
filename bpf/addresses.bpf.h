/* SPDX-License-Identifier: GPL-2.0-only
 * Addresses, and how they are read from the contexts of programs on cgroups. 16 bytes in network
 * order, IPv4 as ::ffff:a.b.c.d.
 */
#pragma once

/* bpf_helpers.h needs the types of bpf.h before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define SO_BINDTOIFINDEX 62
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define ALLOW 1
#define REFUSE 0

#define ENETUNREACH 101

struct address {
  union {
    __u8 bytes[16];
    __u32 words[4];
    __u64 halves[2];
  };
};

/* Keeps the compiler from making one load of two fields of a context, through a pointer that the
 * verifier does not follow. */
static __always_inline __u32 own_load(__u32 value) {
  asm volatile("" : "+r"(value));
  return value;
}

static __always_inline int is_mapped(const struct address* address) {
  return address->halves[0] == 0 && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline void map_v4(__u32 v4, struct address* out) {
  out->halves[0] = 0;
  out->words[2] = bpf_htonl(0xffff);
  out->words[3] = v4;
}

static __always_inline int is_loopback(const struct address* address) {
  if (is_mapped(address)) return (bpf_ntohl(address->words[3]) >> 24) == 127;
  return address->halves[0] == 0 && address->words[2] == 0 && address->words[3] == bpf_htonl(1);
}

/* The fields of the context can only be read word by word. */
static __always_inline void user_address(struct bpf_sock_addr* ctx, int v6, struct address* out) {
  if (!v6) {
    __u32 v4 = ctx->user_ip4;

    return map_v4(own_load(v4), out);
  }
  out->words[0] = own_load(ctx->user_ip6[0]);
  out->words[1] = own_load(ctx->user_ip6[1]);
  out->words[2] = own_load(ctx->user_ip6[2]);
  out->words[3] = own_load(ctx->user_ip6[3]);
}
