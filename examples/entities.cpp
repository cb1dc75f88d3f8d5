// Text in, entities out:  entities model.octo "Angela Merkel met Tim Cook in Berlin."
#include <iostream>

#include "octobert/engine.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: entities M.octo TEXT\n";
    return 2;
  }
  try {
    const auto engine = octobert::Engine::open(argv[1]);
    for (const auto& entity : engine.analyze(argv[2]).entities) {
      std::cout << entity.label << '\t' << entity.text << '\t' << entity.bytes.begin << '\t' << entity.bytes.end
                << '\n';
    }
  } catch (const octobert::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
