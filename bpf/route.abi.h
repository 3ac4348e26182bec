/* SPDX-License-Identifier: GPL-2.0-only
 * What bpf/route.bpf.c and src/kernel/route_program.cc share beside capture.abi.h.
 */
#ifndef SHUNT_BPF_ROUTE_ABI_H
#define SHUNT_BPF_ROUTE_ABI_H

#include "capture.abi.h"

struct shunt_route_config {
  unsigned long long netns; /* cookie: sockets of other namespaces are left alone */
  struct shunt_selection selection;
  unsigned int own_tgid;      /* 0: none */
  unsigned int mark;          /* 0: none */
  unsigned int by_interface;  /* sockets are bound to `interface` */
  unsigned int has_source;    /* one of the two below */
  unsigned int has_source_v4; /* 0: sockets of IPv4 have no source, and are refused */
  unsigned int has_source_v6;
  unsigned int source_v4; /* in network order */
  unsigned int source_v6[4];
};

#endif
