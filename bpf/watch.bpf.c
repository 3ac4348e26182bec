/* SPDX-License-Identifier: GPL-2.0-only
 * Keeps the list of who is captured or routed (`selectors` of bpf/selectors.bpf.h) up to date while
 * processes come and go. These programs run within fork(), exec() and mkdir(), so there is no
 * moment at which a child of a captured process could connect and is not known yet.
 *
 *   fork          a child is captured as its parent is
 *   rename        a process of a watched name is captured, one that takes another name no more:
 *                 a program that is executed gives its name, and a process can take one itself
 *   free          the last thread of a process is gone, and its number free for others
 *   cgroup_mkdir  a service that starts anew gets a cgroup of the same name, which is another
 *
 * They only watch: nothing of what they see is changed. The types are those of the running kernel
 * (BTF); only the fields that are read are named here.
 */
/* bpf_helpers.h needs the types of bpf.h before it. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "selectors.bpf.h"
#include "watch.abi.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
  int pid;
  int tgid;
  char comm[SHUNT_COMM_BYTES];
};
struct kernfs_node {
  const char* name;
  __u64 id;
};
struct cgroup_root {
  int hierarchy_id;
};
struct cgroup {
  struct kernfs_node* kn;
  struct cgroup_root* root;
};
#pragma clang attribute pop

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct shunt_process_name);
  __type(value, __u32);
} process_names SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct shunt_cgroup_name);
  __type(value, __u32);
} cgroup_names SEC(".maps");

static __always_inline void inherit(__u32 kind, __u32 parent, __u32 child) {
  struct shunt_selector key = {.kind = kind, .value = parent};
  __u32* known = bpf_map_lookup_elem(&selectors, &key);
  __u32 verdict;

  if (!known) return;
  verdict = *known;
  key.value = child;
  bpf_map_update_elem(&selectors, &key, &verdict, BPF_ANY);
}

static __always_inline void forget(__u32 kind, __u32 process) {
  struct shunt_selector key = {.kind = kind, .value = process};

  bpf_map_delete_elem(&selectors, &key);
}

SEC("tp_btf/sched_process_fork")
int shunt_fork(__u64* ctx) {
  struct task_struct* parent = (struct task_struct*)ctx[0];
  struct task_struct* child = (struct task_struct*)ctx[1];

  if (parent->tgid == child->tgid) return 0; /* a thread */
  inherit(SHUNT_BY_TGID, parent->tgid, child->tgid);
  inherit(SHUNT_BY_NAMED, parent->tgid, child->tgid);
  return 0;
}

SEC("tp_btf/task_rename")
int shunt_rename(__u64* ctx) {
  struct task_struct* task = (struct task_struct*)ctx[0];
  struct shunt_process_name name = {};
  struct shunt_selector key = {.kind = SHUNT_BY_NAMED, .value = task->tgid};
  __u32* verdict;

  if (task->pid != task->tgid) return 0; /* a thread's own name */
  bpf_probe_read_kernel_str(name.bytes, sizeof(name.bytes), (const char*)ctx[1]);
  verdict = bpf_map_lookup_elem(&process_names, &name);
  if (verdict) {
    __u32 found = *verdict;

    bpf_map_update_elem(&selectors, &key, &found, BPF_ANY);
  } else {
    bpf_map_delete_elem(&selectors, &key);
  }
  return 0;
}

SEC("tp_btf/sched_process_free")
int shunt_free(__u64* ctx) {
  struct task_struct* task = (struct task_struct*)ctx[0];

  if (task->pid != task->tgid) return 0;
  forget(SHUNT_BY_TGID, task->tgid);
  forget(SHUNT_BY_NAMED, task->tgid);
  return 0;
}

SEC("tp_btf/cgroup_mkdir")
int shunt_mkdir(__u64* ctx) {
  struct cgroup* made = (struct cgroup*)ctx[0];
  struct shunt_selector key = {.kind = SHUNT_BY_CGROUP};
  struct shunt_cgroup_name name = {};
  __u32* verdict;
  __u32 found;

  if (made->root->hierarchy_id != 0) return 0; /* of another hierarchy than the unified */
  bpf_probe_read_kernel_str(name.bytes, sizeof(name.bytes), made->kn->name);
  verdict = bpf_map_lookup_elem(&cgroup_names, &name);
  if (!verdict) return 0;
  found = *verdict;
  key.value = made->kn->id;
  bpf_map_update_elem(&selectors, &key, &found, BPF_ANY);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
