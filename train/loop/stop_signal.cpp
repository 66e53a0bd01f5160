#include "train/loop/stop_signal.h"

#include <unistd.h>
#include <csignal>

namespace umbra {
namespace {

volatile std::sig_atomic_t g_received = 0;

void on_signal(int signal) {
  if (g_received != 0) _exit(128 + signal);
  g_received = signal;
}

}  // namespace

StopSignal::StopSignal() {
  g_received = 0;
  before_int_ = std::signal(SIGINT, on_signal);
  before_term_ = std::signal(SIGTERM, on_signal);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, before_int_);
  std::signal(SIGTERM, before_term_);
}

int StopSignal::received() const { return g_received; }

}  // namespace umbra
