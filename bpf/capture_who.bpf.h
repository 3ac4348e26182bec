/* SPDX-License-Identifier: GPL-2.0-only
 * Addresses in the contexts of the programs of capture.bpf.c, and who is captured.
 */
#pragma once

#include "capture_state.bpf.h"

/* Addresses. */

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

static __always_inline __u32 listed(__u32 kind, __u64 value) {
  struct shunt_selector key = {.kind = kind, .value = value};
  __u32* verdict = bpf_map_lookup_elem(&selectors, &key);

  return verdict ? *verdict : 0;
}

/* One that is left out is so whatever else it is. */
static __always_inline int is_selected(void) {
  __u64 ids = bpf_get_current_uid_gid();
  __u32 found = listed(SHUNT_BY_TGID, bpf_get_current_pid_tgid() >> 32);
  __u32 level;

  found |= listed(SHUNT_BY_NAMED, bpf_get_current_pid_tgid() >> 32);
  found |= listed(SHUNT_BY_UID, (__u32)ids);
  found |= listed(SHUNT_BY_GID, ids >> 32);
  for (level = 1; level <= MOST_ANCESTORS; ++level) {
    __u64 cgroup;

    if (level > config.most_ancestors) break;
    cgroup = bpf_get_current_ancestor_cgroup_id(level);
    if (!cgroup) break;
    found |= listed(SHUNT_BY_CGROUP, cgroup);
  }
  if (found & SHUNT_LEAVE) return 0;
  return config.select == SHUNT_SELECT_ALL_BUT || (found & SHUNT_TAKE);
}

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
  return config.select == SHUNT_SELECT_ALL || is_selected();
}
