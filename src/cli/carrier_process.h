// SPDX-License-Identifier: GPL-2.0-only
// The carrier's own side (see cli/carrier.h) and the records that the two exchange:
//
//   carrier:     kCarrierReady + RunMethod + descriptors: RunDoor::fds
//                or kCarrierFailed + error_record()
//   supervisor:  kCommandStarted + pid          no answer
//                kWasItSeen + signal + sender   answer: kSeen or kNotSeen
//                kStopping + pid, kResumed      no answer
//                kCommandEnded                  answer, when the last lines are written: kEnding
//                                               (exits now) or kStaying (others need it)
#pragma once

#include <sys/types.h>

#include "net/unique_fd.h"

namespace shunt::cli {

class Options;

inline constexpr char kCarrierReady = 'r';
inline constexpr char kCarrierFailed = 'f';
inline constexpr char kCommandStarted = 'c';
inline constexpr char kWasItSeen = 'w';
inline constexpr char kSeen = 'y';
inline constexpr char kNotSeen = 'n';
inline constexpr char kStopping = 'z';
inline constexpr char kResumed = 'a';
inline constexpr char kCommandEnded = 'e';
inline constexpr char kEnding = 'x';
inline constexpr char kStaying = 's';

/// What follows the letter.
struct CarrierRequest {
  char letter = 0;
  int signal = 0;
  pid_t pid = 0;
};

/// The carrier's whole life, in a freshly forked process.
[[noreturn]] void carry(UniqueFd channel, const Options& options);

}  // namespace shunt::cli
