// The header of a safetensors file: any bytes give a checked header or an Error, nothing else.
#include <stddef.h>
#include <stdint.h>

#include <string_view>

#include "converter/safetensors.h"
#include "octobert/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using octobert::converter::data_type_size;
  if (size == 0) return 0;
  // The first byte is how much data follows the header: small, so that the fuzzer can meet it.
  const uint64_t data_bytes = data[0];
  try {
    const auto header = octobert::converter::parse_safetensors_header(
        std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1), data_bytes, "fuzz");
    uint64_t expected = 0;
    for (const auto& tensor : header.tensors) {
      if (tensor.begin != expected || tensor.end - tensor.begin != tensor.elements * data_type_size(tensor.type)) {
        __builtin_trap();
      }
      expected = tensor.end;
    }
    if (expected != data_bytes) __builtin_trap();
  } catch (const octobert::Error&) {
  }
  return 0;
}
