#pragma once

namespace umbra {

// Catches SIGINT and SIGTERM while it lives: the loop asks, saves and stops. A second signal ends
// the program at once.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  int received() const;  // the signal's number, or 0

 private:
  using Handler = void (*)(int);
  Handler before_int_, before_term_;
};

// Thrown by the loop when it has stopped for a signal, with a checkpoint saved.
struct Interrupted {
  int signal;
};

}  // namespace umbra
