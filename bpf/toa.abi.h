/* SPDX-License-Identifier: GPL-2.0-only
 * What src/kernel/toa.cc hands to bpf/toa.bpf.c for a socket: the TCP option as it goes on the wire
 * (network order), which is what load balancers of the LVS family send and their kernel modules
 * read:
 *
 *   fe 08 10e1 cb007109                          203.0.113.9, port 4321
 *   fe 14 10e1 20010db8 00000000 00000000 00000009   2001:db8::9, port 4321
 *
 * Kind 254 is one of those set aside for experiments (RFC 6994). A SYN of Linux has 20 of its 40
 * bytes of options left, so both fit.
 */
#ifndef SHUNT_BPF_TOA_ABI_H
#define SHUNT_BPF_TOA_ABI_H

#define SHUNT_TOA_KIND 254
#define SHUNT_TOA_V4_BYTES 8
#define SHUNT_TOA_V6_BYTES 20

struct shunt_toa_option {
  unsigned char bytes[SHUNT_TOA_V6_BYTES]; /* the second is how many of them count: 8 or 20 */
};

#endif
