/* SPDX-License-Identifier: GPL-2.0-only
 * Answers getsockopt() for the programs of capture.bpf.c.
 */
#pragma once

#include "capture_who.bpf.h"

/* SO_ORIGINAL_DST on a socket that a listener in the cgroup accepted. The kernel's own answer, an
 * error without netfilter, is replaced. */
struct in4 {
  __u16 family;
  __u16 port;
  __u32 address;
  __u8 zero[8];
};
struct in6 {
  __u16 family;
  __u16 port;
  __u32 flow;
  __u8 address[16];
  __u32 scope_id;
};

static __always_inline struct shunt_origin* accepted_from(struct bpf_sock* socket, int v6) {
  struct shunt_client client = {};
  struct address address = {};

  if (v6) {
    address.words[0] = own_load(socket->dst_ip6[0]);
    address.words[1] = own_load(socket->dst_ip6[1]);
    address.words[2] = own_load(socket->dst_ip6[2]);
    address.words[3] = own_load(socket->dst_ip6[3]);
  } else {
    __u32 v4 = socket->dst_ip4;

    map_v4(own_load(v4), &address);
  }
  __builtin_memcpy(client.address, address.bytes, 16);
  client.port = bpf_ntohs(socket->dst_port);
  return bpf_map_lookup_elem(&connections, &client);
}

static __always_inline int answer4(struct bpf_sockopt* ctx, const struct shunt_origin* origin) {
  struct in4* out = ctx->optval;

  if ((void*)(out + 1) > ctx->optval_end) return 1;
  __builtin_memset(out, 0, sizeof(*out));
  out->family = AF_INET;
  out->port = bpf_htons(origin->port);
  __builtin_memcpy(&out->address, origin->address + 12, 4);
  ctx->optlen = sizeof(*out);
  ctx->retval = 0;
  return 1;
}

static __always_inline int answer6(struct bpf_sockopt* ctx, const struct shunt_origin* origin) {
  struct in6* out = ctx->optval;

  if ((void*)(out + 1) > ctx->optval_end) return 1;
  __builtin_memset(out, 0, sizeof(*out));
  out->family = AF_INET6;
  out->port = bpf_htons(origin->port);
  __builtin_memcpy(out->address, origin->address, 16);
  ctx->optlen = sizeof(*out);
  ctx->retval = 0;
  return 1;
}

SEC("cgroup/getsockopt")
int shunt_getsockopt(struct bpf_sockopt* ctx) {
  struct bpf_sock* socket = ctx->sk;
  struct shunt_origin* origin;
  int v4 = ctx->level == SOL_IP;

  if (ctx->optname != SO_ORIGINAL_DST || (!v4 && ctx->level != SOL_IPV6)) return 1;
  if (!socket || socket->protocol != IPPROTO_TCP) return 1;
  origin = accepted_from(socket, socket->family == AF_INET6);
  if (!origin) return 1;
  return v4 ? answer4(ctx, origin) : answer6(ctx, origin);
}
