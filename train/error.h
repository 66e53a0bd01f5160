#pragma once

#include <stdexcept>
#include <string>

namespace umbra {

// A mistake the user can mend: the message says what, where, what was got and wanted, and what
// to do. Our own mistakes are TORCH_CHECKs.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A config or command line that cannot be run: the program ends with exit code 2, not 1.
struct ConfigError : Error {
  using Error::Error;
};

}  // namespace umbra
