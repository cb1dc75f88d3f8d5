#include "bench/onednn_product.h"

#include <omp.h>

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>

namespace octobert::bench {
namespace {

using dnnl::matmul;
using dnnl::memory;

matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& a, const memory::desc& w,
                                const memory::desc& dst) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, w, dst};
#else
  return {matmul::desc(a, w, dst), engine};
#endif
}

}  // namespace

struct OneDnnProduct::Impl {
  Impl(int rows, int outputs, int inputs)
      : m(rows),
        n(outputs),
        k(inputs),
        a({{m, k}, memory::data_type::u8, memory::format_tag::ab}, engine),
        dst({{m, n}, memory::data_type::s32, memory::format_tag::ab}, engine),
        description(
            describe(engine, a.get_desc(), {{k, n}, memory::data_type::s8, memory::format_tag::any}, dst.get_desc())),
        w(description.weights_desc(), engine),
        product(description) {}

  int m, n, k;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  memory a, dst;
  matmul::primitive_desc description;
  memory w;
  matmul product;
};

OneDnnProduct::OneDnnProduct(int m, int n, int k, std::span<const uint8_t> a, std::span<const int8_t> w) {
  omp_set_num_threads(1);
  impl_ = std::make_unique<Impl>(m, n, k);
  std::memcpy(impl_->a.get_data_handle(), a.data(), a.size());
  // Rows of w are outputs: as a matrix of [K][N] it is stored column by column.
  memory plain({{k, n}, memory::data_type::s8, memory::format_tag::ba}, impl_->engine);
  std::memcpy(plain.get_data_handle(), w.data(), w.size());
  dnnl::reorder(plain, impl_->w).execute(impl_->stream, plain, impl_->w);
  impl_->stream.wait();
}

OneDnnProduct::~OneDnnProduct() = default;

void OneDnnProduct::run() {
  impl_->product.execute(impl_->stream,
                         {{DNNL_ARG_SRC, impl_->a}, {DNNL_ARG_WEIGHTS, impl_->w}, {DNNL_ARG_DST, impl_->dst}});
  impl_->stream.wait();
}

bool OneDnnProduct::is_exact(std::span<const uint8_t> a, std::span<const int8_t> w) const {
  const auto inputs = static_cast<size_t>(impl_->k), outputs = static_cast<size_t>(impl_->n);
  const auto* sums = static_cast<const int32_t*>(impl_->dst.get_data_handle());
  for (size_t m = 0; m < static_cast<size_t>(impl_->m); m += 17) {
    for (size_t n = 0; n < outputs; n += 13) {
      int32_t sum = 0;
      for (size_t k = 0; k < inputs; ++k) sum += a[m * inputs + k] * w[n * inputs + k];
      if (sums[m * outputs + n] != sum) return false;
    }
  }
  return true;
}

}  // namespace octobert::bench
