// The kernels for AVX-512 (F, BW, DQ, VL), compiled with its flags and with those of
// AVX512-BF16, whose instructions nothing but bfloat16_impl.h asks for.
//
// A function that this file shares with others by name, such as an inline function of a
// header, would be compiled here with instructions that other processors lack, and the
// linker may choose that copy for all. So everything here and in the *_impl.h files is in
// an unnamed namespace or always inlined, no C++ standard library function is called, and
// the table below is all that leaves.
#include "kernels/simd_avx512.h"
// clang-format off: each needs what those above define.
#include "kernels/activation_impl.h"
#include "kernels/gemm_impl.h"
#include "kernels/pointwise_impl.h"
#include "kernels/window_impl.h"
#include "kernels/winograd_impl.h"
#include "kernels/bfloat16_impl.h"
#include "kernels/table_impl.h"
// clang-format on

namespace savedmodel::kernels {

const KernelTable kAvx512Kernels = isa::kTable;
const Bfloat16Table kAvx512Bfloat16 = {isa::kGemmTable<isa::Bfloat16Cell>,
                                       isa::PackBfloat16};

}  // namespace savedmodel::kernels
