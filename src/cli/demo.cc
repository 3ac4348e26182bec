// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

namespace shunt::cli {
namespace {

Result<int> run_demo(const Options&) {
  return Failure(make_error(Kind::unsupported, "demo is not built yet"));
}

}  // namespace

constinit const Command kDemoCommand = {
    .name = "demo",
    .summary = "show everything at once, inside private network namespaces",
    .usage = "",
    .description =
        "Builds a small network of namespaces with real servers and clients, carries their traffic "
        "in every way that shunt knows, says what worked, and removes everything.",
    .run = run_demo,
};

}  // namespace shunt::cli
