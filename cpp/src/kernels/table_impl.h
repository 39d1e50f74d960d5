// The table of one instruction set. Included last by kernels_*.cc.
#pragma once

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

constexpr KernelTable kTable = {
    kLanes,      kPanelWidth,      kMaxRows, kGemmTable<Float32Cell>,
    Pack,        PackWinograd,     Winograd, WinogradScratch,
    Depthwise,   DepthwiseScratch, Pool,     SumPixels,
    ScalePixels, Activate,         Binary,   LayerNorm,
    Softmax,     LstmCell,
};

}  // namespace
}  // namespace savedmodel::kernels::isa
