// SPDX-License-Identifier: GPL-2.0-only
// The files RUN/BOOT-NETNS/instance.N of kernel/instance.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/instance.h"

namespace shunt {

std::string encode_record(const LiveInstance& instance);
/// None for a text that lacks something: an unfinished record, or one of another version.
std::optional<LiveInstance> decode_record(std::string_view text);

std::string record_path(std::string_view directory, unsigned number);
std::string control_socket_path(std::string_view directory, unsigned number);
/// A record and the control socket that belongs to it.
void remove_record(const std::string& path);

/// The records of one namespace, by whether their owner holds its lock. Read under StateLock.
struct Records {
  std::vector<LiveInstance> live{};
  unsigned unreadable = 0;          ///< alive, but what it uses is not known: spare everything
  std::vector<std::string> dead{};  ///< paths of files

  [[nodiscard]] bool nobody_lives() const { return live.empty() && unreadable == 0; }
};
Records read_records(const std::string& directory);

/// Removes what the dead left below RUN that nobody can need: records, folders without a journal,
/// folders of an earlier boot.
void tidy_run_directory(const std::string& run);

}  // namespace shunt
