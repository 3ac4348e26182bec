// SPDX-License-Identifier: GPL-2.0-only
// What the loaders of eBPF programs for cgroups answer where shunt was built without libbpf.
#pragma once

#include "base/error_numbers.h"
#include "base/result.h"

namespace shunt {

/// S082 and what to build it with.
inline Failure without_ebpf() {
  return Failure(make_error(Kind::unsupported, error_number::kNoCgroupBpf,
                            "this shunt was built without eBPF",
                            "build it with libbpf-dev and bpftool installed"));
}

}  // namespace shunt
