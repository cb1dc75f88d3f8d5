// The converter as a library:  convert CHECKPOINT_DIR M.octo
#include <iostream>

#include "octobert/converter.h"
#include "octobert/error.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: convert CHECKPOINT_DIR M.octo\n";
    return 2;
  }
  try {
    octobert::ConvertOptions options;
    options.progress = [](const octobert::ConvertProgress& p) {
      std::cerr << p.stage << ' ' << p.done << '/' << p.total << ' ' << p.item << '\n';
    };
    const octobert::ConvertReport report = octobert::convert(argv[1], argv[2], options);
    std::cout << report.output_bytes << " bytes, " << 100 * report.agreement << " % of " << report.agreement_tokens
              << " test tokens with the float model's label\n";
  } catch (const octobert::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
