/* SPDX-License-Identifier: GPL-2.0-only
 * What bpf/watch.bpf.c and src/kernel/watch_program.cc share beside capture.abi.h: names, padded
 * with zeros, of processes and of cgroups, and whether what has them is captured (SHUNT_TAKE,
 * SHUNT_LEAVE).
 */
#ifndef SHUNT_BPF_WATCH_ABI_H
#define SHUNT_BPF_WATCH_ABI_H

#include "capture.abi.h"

#define SHUNT_CGROUP_NAME_BYTES 128

struct shunt_process_name {
  char bytes[SHUNT_COMM_BYTES];
};
struct shunt_cgroup_name {
  char bytes[SHUNT_CGROUP_NAME_BYTES];
};

#endif
