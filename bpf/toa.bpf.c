/* SPDX-License-Identifier: GPL-2.0-only
 * Writes a TCP option into the SYN of connections that shunt makes (TOA, "TCP option address"): who
 * the client was. A sockops program on shunt's own cgroup; it acts only on sockets that shunt gave
 * an option, and every other connection of the cgroup is as it would be without.
 *
 *   TCP_CONNECT_CB          connect() was called: ask to be called for headers
 *   HDR_OPT_LEN_CB          a segment is sized: reserve room, in a SYN
 *   WRITE_HDR_OPT_CB        and is written: store the option
 *   ACTIVE_ESTABLISHED_CB   over: no more calls for this socket
 *
 * (linux/bpf.h, Linux 5.10). Where the option does not fit, reserving fails and the SYN goes
 * without. The option lies in the socket's own storage and goes with it.
 */
/* bpf_helpers.h needs the types of bpf.h before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "toa.abi.h"

#define TCP_FLAG_SYN 0x02

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct shunt_toa_option);
} options SEC(".maps");

/* How many SYNs went without their option; read by shunt. */
__u64 left_out = 0;

static struct shunt_toa_option* option_of(struct bpf_sock_ops* ctx) {
  struct bpf_sock* socket = ctx->sk;

  if (!socket) return 0;
  return bpf_sk_storage_get(&options, socket, 0, 0);
}

static void want_headers(struct bpf_sock_ops* ctx, int wanted) {
  int flags = ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;

  if (wanted) flags |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
  bpf_sock_ops_cb_flags_set(ctx, flags);
}

static void reserve(struct bpf_sock_ops* ctx) {
  struct shunt_toa_option* option;
  __u32 size;

  if (!(ctx->skb_tcp_flags & TCP_FLAG_SYN)) return;
  option = option_of(ctx);
  if (!option) return;
  size = option->bytes[1] == SHUNT_TOA_V4_BYTES ? SHUNT_TOA_V4_BYTES : SHUNT_TOA_V6_BYTES;
  if (bpf_reserve_hdr_opt(ctx, size, 0) != 0) __sync_fetch_and_add(&left_out, 1);
}

static void store(struct bpf_sock_ops* ctx) {
  struct shunt_toa_option* option;

  if (!(ctx->skb_tcp_flags & TCP_FLAG_SYN)) return;
  option = option_of(ctx);
  if (!option) return;
  if (option->bytes[1] == SHUNT_TOA_V4_BYTES)
    bpf_store_hdr_opt(ctx, option->bytes, SHUNT_TOA_V4_BYTES, 0);
  else
    bpf_store_hdr_opt(ctx, option->bytes, SHUNT_TOA_V6_BYTES, 0);
}

SEC("sockops")
int shunt_toa(struct bpf_sock_ops* ctx) {
  switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
      if (option_of(ctx)) want_headers(ctx, 1);
      break;
    case BPF_SOCK_OPS_HDR_OPT_LEN_CB: reserve(ctx); break;
    case BPF_SOCK_OPS_WRITE_HDR_OPT_CB: store(ctx); break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
      if (option_of(ctx)) want_headers(ctx, 0);
      break;
  }
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
