#include "train/machine.h"

#include <fstream>

namespace umbra {
namespace {

// What follows "key:" in a file of /proc, or nothing.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    if (value != std::string::npos) return line.substr(value);
  }
  return "";
}

double status_gigabytes(const char* key) {
  const std::string kibibytes = proc_value("/proc/self/status", key);
  return kibibytes.empty() ? 0.0 : std::stod(kibibytes) * 1024.0 / 1e9;
}

}  // namespace

std::string cpu_name() {
  const std::string name = proc_value("/proc/cpuinfo", "model name");
  return name.empty() ? "CPU" : name;
}

double resident_gigabytes() { return status_gigabytes("VmRSS"); }

double peak_resident_gigabytes() { return status_gigabytes("VmHWM"); }

}  // namespace umbra
