// SPDX-License-Identifier: GPL-2.0-only
// What the loaders of eBPF programs for cgroups have in common. Only where libbpf is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/selecting_program.h"
#include "net/endpoint.h"

struct bpf_link;
struct bpf_object;
struct shunt_selection;

namespace shunt {

/// What could not be done with them, and what would mend it.
Error cgroup_program_error(std::string_view what, int os_error);

/// All programs of the object that are for cgroups to the directory of one, or none. The links are
/// the caller's.
Result<std::vector<bpf_link*>> attach_to_cgroup(const bpf_object* object,
                                                const std::string& cgroup);

/// Of the network namespace of the calling thread.
Result<std::uint64_t> network_namespace_cookie();

/// What the programs say of processes are numbers of the first pid namespace.
[[nodiscard]] bool in_first_pid_namespace();

/// As the programs have them: IPv4 as ::ffff:a.b.c.d.
void put_address(const Address& address, unsigned char (&out)[16]);

/// Lays down in the read-only data of the programs what `selection` asks for.
void configure_selection(const SelectingProgram::Selection& selection, shunt_selection& out);
/// In the map of selectors.
Result<void> write_selector(int map, SelectingProgram::SelectBy by, std::uint64_t value,
                            bool leave_alone);
void erase_selector(int map, SelectingProgram::SelectBy by, std::uint64_t value);

}  // namespace shunt
