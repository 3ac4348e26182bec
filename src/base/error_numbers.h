// SPDX-License-Identifier: GPL-2.0-only
// The N of error[SN]: one for each mistake or obstacle that a user can meet and do something
// about. A number is never given to another meaning; new ones go at the end. `shunt help errors`
// prints this list.
#pragma once

#include <array>
#include <string_view>

namespace shunt {

namespace error_number {
inline constexpr int kUnknownCommand = 1;
inline constexpr int kUnknownOption = 2;
inline constexpr int kBadValue = 3;
inline constexpr int kGatewayPrivilege = 4;
inline constexpr int kMissingValue = 5;
inline constexpr int kUnexpectedWord = 6;
inline constexpr int kOptionTwice = 7;
inline constexpr int kMissingWord = 8;
inline constexpr int kBadVia = 9;
inline constexpr int kPasswordOnCommandLine = 10;
inline constexpr int kBadExclude = 11;
inline constexpr int kUnknownWayOut = 12;
inline constexpr int kNoSuchInterface = 13;
inline constexpr int kNothingToCapture = 14;
inline constexpr int kNoUserNamespace = 15;
inline constexpr int kNoNetworkNamespace = 16;
inline constexpr int kNoTun = 17;
inline constexpr int kNoNftables = 18;
inline constexpr int kNoTproxy = 19;
inline constexpr int kNoMark = 20;
inline constexpr int kAlreadyRunning = 21;
inline constexpr int kCommandNotFound = 22;
inline constexpr int kCommandNotExecutable = 23;
inline constexpr int kLogFile = 24;
inline constexpr int kPasswordFile = 25;
inline constexpr int kTooFewFds = 26;
inline constexpr int kForeignRules = 27;
inline constexpr int kOptionConflict = 28;
inline constexpr int kMissingProgram = 29;
inline constexpr int kBadRule = 30;
inline constexpr int kListFile = 31;
inline constexpr int kAddressDatabase = 32;
inline constexpr int kBadWayOut = 33;
inline constexpr int kWayOutCycle = 34;
inline constexpr int kMarkTaken = 35;
inline constexpr int kConfigFile = 40;
inline constexpr int kNotToml = 41;
inline constexpr int kUnknownKey = 42;
inline constexpr int kBadKeyValue = 43;
inline constexpr int kConfigVersion = 44;
inline constexpr int kNotRunning = 45;
inline constexpr int kNeedsRestart = 46;
inline constexpr int kNoReturnPath = 50;
inline constexpr int kNoTableMark = 51;
inline constexpr int kKeptPort = 52;
inline constexpr int kBadListener = 55;
inline constexpr int kCannotListen = 56;
inline constexpr int kNoToa = 57;
inline constexpr int kQueueTaken = 60;
inline constexpr int kNotHonest = 61;
inline constexpr int kNoNotrack = 62;
inline constexpr int kNoRunMethod = 80;
inline constexpr int kNoCgroup = 81;
inline constexpr int kNoCgroupBpf = 82;
inline constexpr int kBadTarget = 83;
inline constexpr int kNoCallTrap = 100;
inline constexpr int kNoForeignAccess = 101;
inline constexpr int kNoPreloadLibrary = 110;
inline constexpr int kNotPreloadable = 111;
inline constexpr int kNoRoute = 120;
inline constexpr int kBadRoute = 121;
inline constexpr int kNoRouteMethod = 122;
inline constexpr int kNoCallTracer = 130;
}  // namespace error_number

struct NumberedError {
  int number;
  std::string_view meaning;
};

inline constexpr std::array kNumberedErrors = std::to_array<NumberedError>({
    {error_number::kUnknownCommand, "the first word is no command of shunt"},
    {error_number::kUnknownOption, "the command has no such option"},
    {error_number::kBadValue, "an option's value is not of the kind that it takes"},
    {error_number::kGatewayPrivilege, "capturing a LAN or the host needs CAP_NET_ADMIN"},
    {error_number::kMissingValue, "an option that takes a value has none"},
    {error_number::kUnexpectedWord, "a word too many, or a value given to a flag"},
    {error_number::kOptionTwice, "an option that counts once is given twice"},
    {error_number::kMissingWord, "the command needs a word that is not there"},
    {error_number::kBadVia, "the proxy of --via is not a URL that shunt knows"},
    {error_number::kPasswordOnCommandLine, "a password stands where other users can read it"},
    {error_number::kBadExclude, "a rule of --exclude is not one that the kernel can match"},
    {error_number::kUnknownWayOut, "a rule names a way out that is not configured"},
    {error_number::kNoSuchInterface, "there is no network interface of that name"},
    {error_number::kNothingToCapture, "no interface is given and none looks like a LAN"},
    {error_number::kNoUserNamespace, "a user namespace cannot be made here"},
    {error_number::kNoNetworkNamespace, "a network namespace cannot be made here"},
    {error_number::kNoTun, "a TUN device cannot be made here"},
    {error_number::kNoNftables, "nftables rules cannot be installed here"},
    {error_number::kNoTproxy, "TPROXY does not work here"},
    {error_number::kNoMark, "no free bits are left in the packet mark"},
    {error_number::kAlreadyRunning, "another shunt captures the same traffic"},
    {error_number::kCommandNotFound, "the command to run does not exist"},
    {error_number::kCommandNotExecutable, "the command to run cannot be executed"},
    {error_number::kLogFile, "the log file cannot be written"},
    {error_number::kPasswordFile, "the password file cannot be read"},
    {error_number::kTooFewFds, "the limit of open files leaves no room for flows"},
    {error_number::kForeignRules, "rules of another program are in the way"},
    {error_number::kOptionConflict, "two options exclude each other"},
    {error_number::kMissingProgram, "a program that the demonstration needs is not installed"},
    {error_number::kBadRule, "a rule does not follow the grammar (docs/rules.md)"},
    {error_number::kListFile, "a file of names or networks that a rule uses is not usable"},
    {error_number::kAddressDatabase, "the MMDB file for `country` or `asn` is not usable"},
    {error_number::kBadWayOut, "what is said of a way out is impossible or contradicts itself"},
    {error_number::kWayOutCycle, "a way out leads through itself"},
    {error_number::kMarkTaken, "a way out's mark meets the bits that shunt uses itself"},
    {error_number::kConfigFile, "the configuration file cannot be read"},
    {error_number::kNotToml, "the configuration file is not TOML"},
    {error_number::kUnknownKey, "the configuration has a key that shunt does not know"},
    {error_number::kBadKeyValue, "a key of the configuration has a value of another kind"},
    {error_number::kConfigVersion, "the version of the configuration's format is not known"},
    {error_number::kNotRunning, "no `shunt serve` runs here, or it does not answer"},
    {error_number::kNeedsRestart, "what was changed takes effect only when shunt is restarted"},
    {error_number::kNoReturnPath, "keep-source: answers to a client's address cannot be had here"},
    {error_number::kNoTableMark, "no free bits of the packet mark for the tables of ways out"},
    {error_number::kKeptPort, "a client's port can be kept only where TPROXY captures"},
    {error_number::kBadListener, "what is said of a listener is impossible or contradicts itself"},
    {error_number::kCannotListen, "an address of a listener cannot be listened on"},
    {error_number::kNoToa, "clients' addresses cannot be put into TCP options here"},
    {error_number::kQueueTaken, "a queue for held packets is somebody else's"},
    {error_number::kNotHonest, "clients cannot be held until their server has answered"},
    {error_number::kNoNotrack, "captured connections cannot go untracked here"},
    {error_number::kNoRunMethod, "a command cannot be captured in this way here"},
    {error_number::kNoCgroup, "a cgroup is not there, or cannot be made or entered"},
    {error_number::kNoCgroupBpf, "eBPF programs cannot be loaded or attached to a cgroup here"},
    {error_number::kBadTarget, "what `shunt watch` is to capture is not said as it understands"},
    {error_number::kNoCallTrap, "the system calls of a command cannot be answered here"},
    {error_number::kNoForeignAccess, "processes may not look into others of their user here"},
    {error_number::kNoPreloadLibrary, "libshunt-preload.so is not there, or is not loaded here"},
    {error_number::kNotPreloadable, "the command would not load libshunt-preload.so"},
    {error_number::kNoRoute, "the way that `route` is asked for cannot be had here"},
    {error_number::kBadRoute, "what is said of the way of `route` is no address, mark or table"},
    {error_number::kNoRouteMethod, "what runs already cannot be routed that way"},
    {error_number::kNoCallTracer, "the system calls of a command cannot be traced here"},
});

}  // namespace shunt
