// Callers that share an engine of one thread, each in a thread of its own: do they fight? Ids to logits, warm; the
// bundled checkpoint in several schemes, or packed files of one's own. (One caller at a time: `octobert bench`.)
//   bench_model [M.octo ...] [--benchmark_...]
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "octobert/converter.h"
#include "octobert/engine.h"

namespace {

using octobert::Engine;

struct Shape {
  int texts, tokens;
};
constexpr Shape kShapes[] = {{1, 16}, {1, 128}, {1, 512}, {8, 128}};

struct Model {
  std::string name;
  std::vector<std::byte> bytes;  // what the engine views, if it was converted here
  Engine engine;
};

constexpr int kMostCallers = 2;
octobert::OpenOptions one_thread() {
  octobert::OpenOptions options;
  options.threads = 1;
  return options;
}

void forward(benchmark::State& state, const Engine& engine, const Shape& shape) {
  const auto vocab = static_cast<size_t>(engine.info().vocab_size);
  std::vector<int32_t> ids(static_cast<size_t>(shape.texts * shape.tokens)), offsets;
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % vocab);
  for (int i = 0; i <= shape.texts; ++i) offsets.push_back(i * shape.tokens);
  std::vector<float> logits(ids.size() * engine.labels().size());
  octobert::Workspace workspace;
  for (auto _ : state) engine.logits({.ids = ids, .type_ids = {}, .offsets = offsets}, logits, workspace);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(ids.size()));  // tokens, of all callers
}

void add_bundled(std::list<Model>& models) {
  const std::filesystem::path checkpoint = std::filesystem::path(OCTOBERT_SOURCE_DIR) / "models" / "minilm-ner";
  for (const char* scheme : {"dynamic", "weight-only", "float"}) {
    octobert::ConvertOptions options;
    options.scheme = scheme;
    options.check = false;
    std::vector<std::byte> bytes = octobert::converter::convert_to_memory(checkpoint, options);
    Engine engine = Engine::open_memory(bytes, one_thread());  // views the vector's memory, which moving keeps
    models.push_back({std::string("minilm-ner/") + scheme, std::move(bytes), std::move(engine)});
  }
}

void run(const std::vector<std::string>& files) {
  std::list<Model> models;
  for (const std::string& file : files) {
    models.push_back({std::filesystem::path(file).stem().string(), {}, Engine::open(file, one_thread())});
  }
  if (files.empty()) add_bundled(models);
  for (const Model& model : models) {
    for (const Shape& shape : kShapes) {
      if (shape.tokens > model.engine.info().max_positions) continue;
      const std::string name =
          model.name + "/" + std::to_string(shape.texts) + "x" + std::to_string(shape.tokens) + "/callers";
      benchmark::RegisterBenchmark(name.c_str(), [&](benchmark::State& state) { forward(state, model.engine, shape); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime()
          ->ThreadRange(1, kMostCallers);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  try {
    run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_model: %s\n", e.what());
    return 1;
  }
}
