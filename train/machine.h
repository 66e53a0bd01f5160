// Facts about the machine and this process, as the system tells them.
#pragma once

#include <string>

namespace umbra {

std::string cpu_name();

// Memory of this process in GB (1e9 bytes): now, and the most so far.
double resident_gigabytes();
double peak_resident_gigabytes();

}  // namespace umbra
