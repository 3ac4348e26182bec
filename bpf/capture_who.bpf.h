/* SPDX-License-Identifier: GPL-2.0-only
 * Addresses in the contexts of the programs of capture.bpf.c, and who is captured.
 */
#pragma once

#include "capture_state.bpf.h"

/* Addresses. */

static __always_inline void set_user_address(struct bpf_sock_addr* ctx, int v6,
                                             const struct address* address, __u32 port) {
  if (v6) {
    ctx->user_ip6[0] = address->words[0];
    ctx->user_ip6[1] = address->words[1];
    ctx->user_ip6[2] = address->words[2];
    ctx->user_ip6[3] = address->words[3];
  } else {
    ctx->user_ip4 = address->words[3];
  }
  ctx->user_port = bpf_htons(port);
}

static __always_inline void origin_address(const struct shunt_origin* origin, struct address* out) {
  __builtin_memcpy(out->bytes, origin->address, 16);
}

/* Who is captured. */

static __always_inline int is_own(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;

  if (config.own_tgid && bpf_get_current_pid_tgid() >> 32 == config.own_tgid) return 1;
  if (config.own_cgroup && bpf_get_current_cgroup_id() == config.own_cgroup) return 1;
  if (!config.own_mark || !socket) return 0;
  return (socket->mark & config.own_mark_mask) == config.own_mark;
}

/* DHCP, of both families. */
static __always_inline int is_configuration(__u32 protocol, __u32 port) {
  return protocol == IPPROTO_UDP && (port == 67 || port == 68 || port == 546 || port == 547);
}

static __always_inline int is_let_go(const struct address* to, __u32 port) {
  struct shunt_prefix key = {.bits = 128};
  __u32* what;

  __builtin_memcpy(key.address, to->bytes, 16);
  what = bpf_map_lookup_elem(&let_go, &key);
  if (!what) return 0;
  return *what != SHUNT_ONLY_DNS || port != DNS_PORT;
}

static __always_inline int is_captured(struct bpf_sock_addr* ctx, const struct address* to) {
  __u32 protocol = ctx->protocol;

  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 0;
  if (bpf_get_netns_cookie(ctx) != config.netns) return 0;
  if (is_own(ctx)) return 0;
  if (is_configuration(protocol, bpf_ntohs(ctx->user_port))) return 0;
  if (is_let_go(to, bpf_ntohs(ctx->user_port))) return 0;
  return is_selected(ctx, &config.selection);
}
