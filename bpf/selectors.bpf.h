/* SPDX-License-Identifier: GPL-2.0-only
 * Whom a program on a cgroup takes: the list that src/kernel/ writes (kernel/selecting_program.h)
 * and bpf/watch.bpf.c keeps up to date. For programs that run in the context of the process that
 * makes the call.
 */
#pragma once

/* bpf_helpers.h needs the types of bpf.h before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "capture.abi.h"

#define MOST_ANCESTORS 16

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 18);
  __type(key, struct shunt_selector);
  __type(value, __u32);
} selectors SEC(".maps");

static __always_inline __u32 listed(__u32 kind, __u64 value) {
  struct shunt_selector key = {.kind = kind, .value = value};
  __u32* verdict = bpf_map_lookup_elem(&selectors, &key);

  return verdict ? *verdict : 0;
}

/* One that is left out is so whatever else it is. A kernel without net_cls has no helper for the
 * class: the verifier leaves out what a constant `by_classid` of 0 rules out. */
static __always_inline int is_selected(void* ctx,
                                       const volatile struct shunt_selection* selection) {
  __u64 ids = bpf_get_current_uid_gid();
  __u32 found;
  __u32 level;

  if (selection->mode == SHUNT_SELECT_ALL) return 1;
  found = listed(SHUNT_BY_TGID, bpf_get_current_pid_tgid() >> 32);
  found |= listed(SHUNT_BY_NAMED, bpf_get_current_pid_tgid() >> 32);
  found |= listed(SHUNT_BY_UID, (__u32)ids);
  found |= listed(SHUNT_BY_GID, ids >> 32);
  if (selection->by_classid) found |= listed(SHUNT_BY_CLASSID, bpf_get_cgroup_classid(ctx));
  for (level = 1; level <= MOST_ANCESTORS; ++level) {
    __u64 cgroup;

    if (level > selection->most_ancestors) break;
    cgroup = bpf_get_current_ancestor_cgroup_id(level);
    if (!cgroup) break;
    found |= listed(SHUNT_BY_CGROUP, cgroup);
  }
  if (found & SHUNT_LEAVE) return 0;
  return selection->mode == SHUNT_SELECT_ALL_BUT || (found & SHUNT_TAKE);
}
